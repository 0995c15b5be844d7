package scenes

import (
	"math"
	"math/rand/v2"
)

var colorNames = []string{"red", "orange", "yellow", "lime", "green", "teal", "sky", "blue", "purple", "pink", "brown", "white", "black"}

var colorRGB = []rgbColor{
	{.88, .14, .14}, {.96, .53, .08}, {.97, .88, .18}, {.58, .85, .15}, {.10, .55, .18}, {.05, .62, .60}, {.35, .74, .97},
	{.15, .25, .85}, {.55, .18, .75}, {.97, .45, .72}, {.48, .28, .12}, {.97, .97, .97}, {.06, .06, .08},
}

// The background styles, in the order of styleNames.
const (
	flat = iota
	gradient
	blobs
	checks
	bands
	styleCount
)

var (
	styleNames = [styleCount]string{"flat", "gradient", "blobs", "checks", "bands"}
	toneNames  = []string{"dark", "muted", "pale"}
	toneLift   = []float64{.06, .35, .66} // added to the dimmed hue of a background
)

// Distances in Lab (CIE 1976) that a profile keeps.
const (
	groundContrast = 34 // object colours to the background
	secondContrast = 30 // object colours to the background's second colour
	colorContrast  = 32 // object colours among each other
	oddContrast    = 55 // the leading colour to that of an odd one
)

// profile is everything about a picture that is not its relation. Attribute twins share one.
type profile struct {
	color      [4]int // indices into colorNames, all different
	rgb        [4]rgbColor
	shape      [4]int // all different
	texture    [2]int
	oddColor   int // a slot whose colour is far from slot 0's
	oddShape   int // a slot whose silhouette is unlike slot 0's
	aspect     float64
	stretch    [2]float64 // aspect^¼ and aspect^-¾: long objects get thin, so that neighbours stay apart
	ground     rgbColor   // background
	second     rgbColor   // the colour that the background's style mixes in
	groundName string
	style      int
	phase      float64
	n          int     // preferred number of main elements, 4 to 7
	size       float64 // object radius relative to its cell
	ink        float64 // target share of covered pixels
	dust       int     // specks
}

// lab converts a display colour to CIE L*a*b* under D65.
func lab(c rgbColor) [3]float64 {
	linear := func(v float64) float64 {
		if v > .04045 {
			return math.Pow((v+.055)/1.055, 2.4)
		}
		return v / 12.92
	}
	r, g, b := linear(c[0]), linear(c[1]), linear(c[2])
	f := func(t float64) float64 {
		if t > .008856 {
			return math.Cbrt(t)
		}
		return 7.787*t + 16.0/116
	}
	x, y, z := f((.4124*r+.3576*g+.1805*b)/.9505), f(.2126*r+.7152*g+.0722*b), f((.0193*r+.1192*g+.9505*b)/1.089)
	return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
}

// distance is the Euclidean distance of two Lab colours.
func distance(p, q [3]float64) float64 {
	return math.Sqrt((p[0]-q[0])*(p[0]-q[0]) + (p[1]-q[1])*(p[1]-q[1]) + (p[2]-q[2])*(p[2]-q[2]))
}

func clamp(v float64) float64 { return math.Min(1, math.Max(0, v)) }

// heldOutPair reports whether a (shape, colour) pair may lead a profile in the test split only. A fifth of them may.
func heldOutPair(shape, color int) bool { return (3*shape+color)%5 == 0 }

// newProfile draws attributes. With test, the leading (shape, colour) pair is a held-out one; without, it is not.
func newProfile(r *rand.Rand, test bool) profile {
	for {
		var p profile
		colors, shapes, textures := r.Perm(len(colorRGB)), r.Perm(shapeCount), r.Perm(textureCount)
		for i := range 4 {
			p.color[i], p.shape[i] = colors[i], shapes[i]
			for k, base := range colorRGB[colors[i]] {
				p.rgb[i][k] = clamp(base + (r.Float64()-.5)*.10)
			}
		}
		p.texture = [2]int{textures[0], textures[1]}
		for i := range p.texture { // half of the slots are plain, as in drawings
			if r.IntN(2) == 0 {
				p.texture[i] = plain
			}
		}
		p.aspect = 1
		if r.IntN(5) < 2 {
			p.aspect = 1.3 + 1.5*r.Float64()
		}
		p.stretch = [2]float64{math.Pow(p.aspect, .25), math.Pow(p.aspect, -.75)}
		hue, tone := r.IntN(len(colorRGB)), r.IntN(len(toneNames))
		for k, base := range colorRGB[hue] {
			p.ground[k] = base*.30 + toneLift[tone]
			p.second[k] = clamp(p.ground[k] + (r.Float64()-.5)*.22)
		}
		p.groundName = toneNames[tone] + " " + colorNames[hue]
		p.style = r.IntN(styleCount)
		p.phase = r.Float64() * 2 * math.Pi
		p.n = 4 + r.IntN(4)
		p.size = .72 + .22*r.Float64()
		p.ink = .055 + .04*r.Float64()
		p.dust = r.IntN(3)
		if heldOutPair(p.shape[0], p.color[0]) == test && p.legible(r) {
			return p
		}
	}
}

// legible reports whether the colours stand out from the background and from each other, and whether slots differ
// clearly from slot 0 in colour and in silhouette; it picks one of each.
func (p *profile) legible(r *rand.Rand) bool {
	ground, second := lab(p.ground), lab(p.second)
	var colors [4][3]float64
	for i := range colors {
		colors[i] = lab(p.rgb[i])
		if distance(colors[i], ground) < groundContrast || distance(colors[i], second) < secondContrast {
			return false
		}
		for j := range i {
			if distance(colors[i], colors[j]) < colorContrast {
				return false
			}
		}
	}
	var far, unlike []int
	for i := 1; i < 4; i++ {
		if distance(colors[0], colors[i]) >= oddContrast {
			far = append(far, i)
		}
		if unlikeness(p.shape[0], p.shape[i]) >= oddSilhouette {
			unlike = append(unlike, i)
		}
	}
	if len(far) == 0 || len(unlike) == 0 {
		return false
	}
	p.oddColor, p.oddShape = far[r.IntN(len(far))], unlike[r.IntN(len(unlike))]
	return true
}
