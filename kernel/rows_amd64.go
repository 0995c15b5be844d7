//go:build amd64 && !noasm

package kernel

func init() {
	addKernel.add(AVX2, addAVX2)
	mulKernel.add(AVX2, mulAVX2)
	mulAddKernel.add(AVX2, mulAddAVX2)
	axpyKernel.add(AVX2, axpyAVX2)
	scaleKernel.add(AVX2, scaleAVX2)
	addScalarKernel.add(AVX2, addScalarAVX2)
	combineKernel.add(AVX2, combineAVX2)
	expKernel.add(AVX2, expAVX2)
	maxKernel.add(AVX2, maxAVX2)
	expSumKernel.add(AVX2, expSumAVX2)
	sumExpKernel.add(AVX2, sumExpAVX2)
	softmaxKernel.add(AVX2, softmaxAVX2)
	softmaxGradKernel.add(AVX2, softmaxGradAVX2)
	sumKernel.add(AVX2, sumAVX2)
	dotKernel.add(AVX2, dotAVX2)
	finiteKernel.add(AVX2, finiteAVX2)
	colSumKernel.add(AVX2, zeroedColSumAVX2)
	accumulateKernel.add(AVX2, accumulateAVX2)
	momentsKernel.add(AVX2, momentsAVX2)
	normalizeKernel.add(AVX2, normalizeAVX2)
	normGradSumsKernel.add(AVX2, normGradSumsAVX2)
	normGradKernel.add(AVX2, normGradAVX2)
	geluErfKernel.add(AVX2, geluErfAVX2)
	geluTanhKernel.add(AVX2, geluTanhAVX2)
	geluQuickKernel.add(AVX2, geluQuickAVX2)
	geluErfGradKernel.add(AVX2, geluErfGradAVX2)
	geluTanhGradKernel.add(AVX2, geluTanhGradAVX2)
	geluQuickGradKernel.add(AVX2, geluQuickGradAVX2)
	dropoutKernel.add(AVX2, dropoutAVX2)
	adamWKernel.add(AVX2, adamWCoefAVX2)

	addKernel.add(AVX512, addAVX512)
	mulKernel.add(AVX512, mulAVX512)
	mulAddKernel.add(AVX512, mulAddAVX512)
	axpyKernel.add(AVX512, axpyAVX512)
	scaleKernel.add(AVX512, scaleAVX512)
	addScalarKernel.add(AVX512, addScalarAVX512)
	combineKernel.add(AVX512, combineAVX512)
	expKernel.add(AVX512, expAVX512)
	maxKernel.add(AVX512, maxAVX512)
	expSumKernel.add(AVX512, expSumAVX512)
	sumExpKernel.add(AVX512, sumExpAVX512)
	softmaxKernel.add(AVX512, softmaxAVX512)
	softmaxGradKernel.add(AVX512, softmaxGradAVX512)
	sumKernel.add(AVX512, sumAVX512)
	finiteKernel.add(AVX512, finiteAVX512)
	colSumKernel.add(AVX512, zeroedColSumAVX512)
	accumulateKernel.add(AVX512, accumulateAVX512)
	momentsKernel.add(AVX512, momentsAVX512)
	normalizeKernel.add(AVX512, normalizeAVX512)
	normGradSumsKernel.add(AVX512, normGradSumsAVX512)
	normGradKernel.add(AVX512, normGradAVX512)
	geluErfKernel.add(AVX512, geluErfAVX512)
	geluTanhKernel.add(AVX512, geluTanhAVX512)
	geluQuickKernel.add(AVX512, geluQuickAVX512)
	geluErfGradKernel.add(AVX512, geluErfGradAVX512)
	geluTanhGradKernel.add(AVX512, geluTanhGradAVX512)
	geluQuickGradKernel.add(AVX512, geluQuickGradAVX512)
	dropoutKernel.add(AVX512, dropoutAVX512)
	adamWKernel.add(AVX512, adamWCoefAVX512)
}

func finiteAVX2(x []float32) bool   { return zeroTimesAVX2(x) == 0 }
func finiteAVX512(x []float32) bool { return zeroTimesAVX512(x) == 0 }

func zeroedColSumAVX2(dst, x []float32, rows int) {
	clear(dst)
	colSumAVX2(dst, x, rows)
}

func zeroedColSumAVX512(dst, x []float32, rows int) {
	clear(dst)
	colSumAVX512(dst, x, rows)
}

func adamWCoefAVX2(w, g, m, v []float32, c *adamWCoef)   { adamWAVX2(w, g, m, v, &c.scale) }
func adamWCoefAVX512(w, g, m, v []float32, c *adamWCoef) { adamWAVX512(w, g, m, v, &c.scale) }
