//go:build arm64 && !noasm

package kernel

func init() {
	addKernel.add(NEON, addNEON)
	mulKernel.add(NEON, mulNEON)
	mulAddKernel.add(NEON, mulAddNEON)
	axpyKernel.add(NEON, axpyNEON)
	scaleKernel.add(NEON, scaleNEON)
	addScalarKernel.add(NEON, addScalarNEON)
	combineKernel.add(NEON, combineNEON)
	expKernel.add(NEON, expNEON)
	maxKernel.add(NEON, maxNEON)
	expSumKernel.add(NEON, expSumNEON)
	sumExpKernel.add(NEON, sumExpNEON)
	softmaxKernel.add(NEON, softmaxNEON)
	softmaxGradKernel.add(NEON, softmaxGradNEON)
	sumKernel.add(NEON, sumNEON)
	dotKernel.add(NEON, dotNEON)
	finiteKernel.add(NEON, finiteNEON)
	colSumKernel.add(NEON, zeroedColSumNEON)
	accumulateKernel.add(NEON, accumulateNEON)
	momentsKernel.add(NEON, momentsNEON)
	normalizeKernel.add(NEON, normalizeNEON)
	normGradSumsKernel.add(NEON, normGradSumsNEON)
	normGradKernel.add(NEON, normGradNEON)
	geluErfKernel.add(NEON, geluErfNEON)
	geluTanhKernel.add(NEON, geluTanhNEON)
	geluQuickKernel.add(NEON, geluQuickNEON)
	geluErfGradKernel.add(NEON, geluErfGradNEON)
	geluTanhGradKernel.add(NEON, geluTanhGradNEON)
	geluQuickGradKernel.add(NEON, geluQuickGradNEON)
	dropoutKernel.add(NEON, dropoutNEON)
	adamWKernel.add(NEON, adamWCoefNEON)
}

func finiteNEON(x []float32) bool { return zeroTimesNEON(x) == 0 }

func zeroedColSumNEON(dst, x []float32, rows int) {
	clear(dst)
	colSumNEON(dst, x, rows)
}

func adamWCoefNEON(w, g, m, v []float32, c *adamWCoef) { adamWNEON(w, g, m, v, &c.scale) }
