package baseline

// All returns every measure of pixels, in the order of the reports. seed draws the weights of [RandomConv].
func All(seed uint64) []Measure {
	return []Measure{Pixels(), Thumbnail(), Histogram(), SSIM(), HOG(), RandomConv(seed)}
}
