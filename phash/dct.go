package phash

// dct replaces x by its discrete cosine transform of the second kind, not normalised:
//
//	y[k] = 2·Σ x[n]·cos(π·k·(2n+1)/64)
//
// The coefficients of a picture that is symmetric are zero but for rounding, and those that round to above the median
// get a bit. So that they are the bits of SciPy, sums and products come in the order of its transform: FFTPACK's
// backward cosine quarter-wave transform over the radices 2, 4, 4. Every product is rounded before it is added, which
// Go on some processors would not do by itself.
//
// Source: Swarztrauber, Vectorizing the FFTs, in Parallel Computations, 1982; SciPy 1.10.1, fftpack.dct.
func dct(x *[side]float64) {
	x[0] *= 2
	x[side-1] *= 2
	for k := 1; k < side-1; k += 2 {
		x[k], x[k+1] = x[k+1]+x[k], x[k+1]-x[k]
	}
	var y [side]float64
	radix2(&y, x)
	radix4(x, &y)
	radix4Last(&y, x)
	x[0] = y[0]
	for k := 1; k < side/2; k++ {
		lo, hi := y[k], y[side-k]
		a, b := quarter[k], quarter[side-k]
		sum := float64(a*hi) + float64(b*lo)
		difference := float64(a*lo) - float64(b*hi)
		x[k], x[side-k] = 0.5*(sum+difference), 0.5*(sum-difference)
	}
	x[side/2] = y[side/2] * quarter[side/2]
}

// The three steps of the inverse transform of 32 real values whose spectrum is stored as r0, r1, i1, r2, i2 … r16.
// Each splits every spectrum that it is given into as many shorter ones as its radix is; the last leaves values.

// radix2 splits one spectrum of 32 into two of 16.
func radix2(y, x *[side]float64) {
	const n = side / 2
	even, odd := y[:n], y[n:]
	even[0], odd[0] = x[0]+x[side-1], x[0]-x[side-1]
	for i := 1; i < n-1; i += 2 {
		re, im, re2, im2 := x[i], x[i+1], x[side-2-i], x[side-1-i]
		even[i], even[i+1] = re+re2, im-im2
		odd[i], odd[i+1] = turn(re-re2, im+im2, eighth[(i+1)/2])
	}
	even[n-1], odd[n-1] = 2*x[n-1], -2*x[n]
}

// radix4 splits two spectra of 16 into eight of 4.
func radix4(y, x *[side]float64) {
	for k := range 2 {
		s := x[16*k:][:16]
		var out [4][]float64
		for j := range out {
			out[j] = y[8*j+4*k:][:4]
		}
		sum, difference := s[0]+s[15], s[0]-s[15]
		middle, cross := 2*s[7], 2*s[8]
		out[0][0], out[2][0] = sum+middle, sum-middle
		out[3][0], out[1][0] = difference+cross, difference-cross

		re, im, re3, im3 := s[1], s[2], s[13], s[14]
		reUp, imUp, reDown, imDown := s[9], s[10], s[5], s[6]
		reSum, reDifference := re+re3, re-re3
		imSum, imDifference := im+im3, im-im3
		imBoth, imApart := imUp+imDown, imUp-imDown
		reBoth, reApart := reUp+reDown, reUp-reDown
		out[0][1], out[0][2] = reSum+reBoth, imDifference+imApart
		out[1][1], out[1][2] = turn(reDifference-imBoth, imSum+reApart, eighth[2])
		out[2][1], out[2][2] = turn(reSum-reBoth, imDifference-imApart, eighth[4])
		out[3][1], out[3][2] = turn(reDifference+imBoth, imSum-reApart, eighth[6])

		sumIm, differenceIm := s[12]+s[4], s[12]-s[4]
		sumRe, differenceRe := s[3]+s[11], s[3]-s[11]
		out[0][3] = sumRe + sumRe
		out[1][3] = sqrt2 * (differenceRe - sumIm)
		out[2][3] = differenceIm + differenceIm
		out[3][3] = -sqrt2 * (differenceRe + sumIm)
	}
}

// radix4Last makes values of eight spectra of 4.
func radix4Last(y, x *[side]float64) {
	for k := range 8 {
		s := x[4*k:][:4]
		sum, difference := s[0]+s[3], s[0]-s[3]
		middle, cross := 2*s[1], 2*s[2]
		y[k], y[16+k] = sum+middle, sum-middle
		y[24+k], y[8+k] = difference+cross, difference-cross
	}
}

// turn returns (re, im)·w.
func turn(re, im float64, w [2]float64) (float64, float64) {
	return float64(w[0]*re) - float64(w[1]*im), float64(w[0]*im) + float64(w[1]*re)
}

const sqrt2 = 1.414213562373095048801688724209698

// circle holds cosine and sine of 2π·k/128 for k = 0 … 16, correctly rounded for the angles as float64 has them: the
// last two, of one angle, differ by a bit.
var circle = [17][2]float64{
	{1, 0},
	{0.9987954562051724, 0.049067674327418015},
	{0.9951847266721969, 0.0980171403295606},
	{0.989176509964781, 0.14673047445536175},
	{0.9807852804032304, 0.19509032201612825},
	{0.970031253194544, 0.24298017990326387},
	{0.9569403357322088, 0.29028467725446233},
	{0.9415440651830208, 0.33688985339222005},
	{0.9238795325112867, 0.3826834323650898},
	{0.9039892931234433, 0.4275550934302821},
	{0.881921264348355, 0.47139673682599764},
	{0.8577286100002721, 0.5141027441932217},
	{0.8314696123025452, 0.5555702330196022},
	{0.8032075314806449, 0.5956993044924334},
	{0.773010453362737, 0.6343932841636455},
	{0.7409511253549591, 0.6715589548470183},
	{0.7071067811865476, 0.7071067811865475},
}

// onCircle is the point at k/128 of the way round, 0 <= k <= 64.
func onCircle(k int) [2]float64 {
	switch {
	case k < 16:
		return circle[k]
	case k < 32:
		return [2]float64{circle[32-k][1], circle[32-k][0]}
	case k < 48:
		return [2]float64{-circle[k-32][1], circle[k-32][0]}
	}
	return [2]float64{-circle[64-k][0], circle[64-k][1]}
}

// quarter[k] is cos(2π·k/128), and eighth[k] the point at k/32 of the way round: products of a coarse and a fine
// step, with the roundings that SciPy's have.
var quarter, eighth = func() (q [side + 1]float64, e [8][2]float64) {
	for k := range q {
		fine, coarse := onCircle(k%16), onCircle(k/16*16)
		q[k] = float64(fine[0]*coarse[0]) - float64(fine[1]*coarse[1])
	}
	for k := range e {
		e[k] = onCircle(4 * k)
	}
	return q, e
}()
