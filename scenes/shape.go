package scenes

import "math"

// rgbColor is a colour in display space, each channel in [0, 1]. The generator works in display space because every
// consumer (histogram, pixel distance, encoder) reads display-space bytes.
type rgbColor [3]float64

// The shapes, in the order of shapeNames.
const (
	circle = iota
	square
	triangle
	diamond
	star
	hexagon
	cross
	crescent
	heart
	drop
	pentagon
	arrow
	shapeCount
)

var shapeNames = [shapeCount]string{"circle", "square", "triangle", "diamond", "star", "hexagon", "cross", "crescent", "heart", "drop", "pentagon", "arrow"}

// The textures, in the order of textureNames.
const (
	plain = iota
	striped
	hollow
	dotted
	textureCount
)

var textureNames = [textureCount]string{"plain", "striped", "hollow", "dotted"}

// squareHalf is half the side of the unit square; a bar is a stretched square.
const squareHalf = .86

// inradius holds, for each unit shape, the radius of a disc around the origin that lies inside it; 0 where there is none.
var inradius = [shapeCount]float64{1, .86, .51, .65, .45, .87, .50, 0, .62, .59, .80, 0}

// insideUnit reports whether (u, v) lies in the unit shape, whose circumradius is about 1 and whose v axis points down.
func insideUnit(shape int, u, v float64) bool {
	switch shape {
	case circle:
		return u*u+v*v < 1
	case square:
		return math.Abs(u) < squareHalf && math.Abs(v) < squareHalf
	case triangle:
		return v < .62 && v > -1.02+1.72*math.Abs(u)
	case diamond:
		return 1.25*math.Abs(u)+math.Abs(v) < 1.05
	case star: // five lobes: radius .45 + .62·d², d the distance from the middle between two lobes
		q := u*u + v*v
		if q < .45*.45 {
			return true
		}
		if q > 1.07*1.07 {
			return false
		}
		t := (math.Atan2(v, u) + math.Pi/2) / (2 * math.Pi / 5)
		d := 2 * math.Abs(t-math.Floor(t)-.5)
		return math.Sqrt(q) < .45+.62*d*d
	case hexagon:
		au, av := math.Abs(u), math.Abs(v)
		return av < .87 && au*.866+av*.5 < .87
	case cross:
		au, av := math.Abs(u), math.Abs(v)
		return au < .36 && av < 1 || av < .36 && au < 1
	case crescent:
		return u*u+v*v < 1 && (u-.5)*(u-.5)+v*v > .52
	case heart:
		x, y := u*1.18, -v*1.18+.12
		q := x*x + y*y - .72
		return q*q*q < 1.05*x*x*y*y*y
	case drop:
		if v > -.1 {
			return u*u+(v-.25)*(v-.25) < .5
		}
		return v > -1.05 && math.Abs(u) < (v+1.05)*.69
	case pentagon: // three of the five half planes, the other two by symmetry; one corner points up
		au := math.Abs(u)
		return v < .8 && au*.5877852522924731-v*.8090169943749475 < .8 && au*.9510565162951535+v*.3090169943749474 < .8
	default: // arrow, pointing up
		au := math.Abs(u)
		return au < .34 && v > -.2 && v < .95 || v <= -.1 && v > -1.05+1.05*au
	}
}

// object is one drawn primitive: a unit shape under an affine map, with a texture, a colour and optional cuts.
// Lengths are in the scene's own unit until scene.fit maps them to pixels.
type object struct {
	shape, texture, color int
	rgb                   rgbColor
	alpha                 float64 // opacity; 1 unless the relation is about fading
	x, y, r               float64 // centre and radius
	sx, sy                float64 // stretch of the unit shape
	rot                   float64
	flip                  bool    // the local frame is reflected
	half                  float64 // 0 whole; +1 or -1 keeps one side of the line through the centre …
	halfAngle             float64 // … whose normal has this angle
	sector                float64 // 0 whole; else the share of the full turn that is kept
	link                  bool    // a line between objects: not counted
	aux                   bool    // link, ground, barrier, speck: not named in the literal caption
}

// extent bounds the distance of the object's points from its centre.
func (o *object) extent() float64 {
	if o.shape == square {
		return o.r * math.Hypot(o.sx, o.sy) * squareHalf
	}
	return o.r * math.Max(o.sx, o.sy) * 1.14
}

// box returns half the width and height of the object's upright bounding box; for round shapes it is an estimate.
func (o *object) box() (ex, ey float64) {
	if o.aux && o.shape == square { // bars: exact
		s, c := math.Sincos(o.rot)
		return (math.Abs(c)*o.sx + math.Abs(s)*o.sy) * o.r * squareHalf, (math.Abs(s)*o.sx + math.Abs(c)*o.sy) * o.r * squareHalf
	}
	e := o.r * math.Max(o.sx, o.sy) * 1.06
	return e, e
}

// stencil is an object made ready for point tests: the inverse map as a matrix, cuts as normals, textures as periods.
type stencil struct {
	x, y           float64
	ux, uy, vx, vy float64 // u = ux·dx + uy·dy, v = vx·dx + vy·dy
	shape, texture int
	cut            bool
	cutU, cutV     float64 // the side kept has u·cutU + v·cutV ≥ 0
	sector         float64 // end of the kept sector in radians, 0 whole
	sectorU        float64 // direction of that end
	sectorV        float64
	pu, pv         float64 // texture periods per unit of u and v
	wall           float64 // hollow: thickness of the wall in units
	inner          float64 // hollow: factor that maps the hole onto the unit shape
	reachU, reachV float64 // |u| and |v| inside the shape stay below these
}

// prepare makes the stencil of o; pixel is the width of a 64th of the picture in the units of o.
func (o *object) prepare(pixel float64) stencil {
	s, c := math.Sincos(o.rot)
	t := stencil{x: o.x, y: o.y, shape: o.shape, texture: o.texture, reachU: 1.14, reachV: 1.14}
	ru, rv := o.r*o.sx, o.r*o.sy
	t.ux, t.uy, t.vx, t.vy = c/ru, s/ru, -s/rv, c/rv
	if o.flip {
		t.ux, t.uy = -t.ux, -t.uy
	}
	if o.shape == square {
		t.reachU, t.reachV = squareHalf, squareHalf
	}
	if o.half != 0 {
		s, c := math.Sincos(o.halfAngle)
		t.cut, t.cutU, t.cutV = true, c*o.half, s*o.half
	}
	if o.sector > 0 && o.sector < .999 {
		t.sector = o.sector * 2 * math.Pi
		t.sectorV, t.sectorU = math.Sincos(t.sector - math.Pi)
	}
	switch o.texture {
	case striped:
		t.pu = ru / math.Max(o.r*.42, 2.6*pixel)
	case hollow:
		t.inner = 1 + math.Max(.42, 1.9*pixel/o.r)
		t.wall = 1 - 1/t.inner
	case dotted:
		period := math.Max(o.r*.6, 3*pixel)
		t.pu, t.pv = ru/period, rv/period
	}
	return t
}

// local maps a point of the picture to the unit frame.
func (t *stencil) local(x, y float64) (u, v float64) {
	dx, dy := x-t.x, y-t.y
	return t.ux*dx + t.uy*dy, t.vx*dx + t.vy*dy
}

// body reports whether (u, v) belongs to the object, its texture left aside. Contact is measured on this.
func (t *stencil) body(u, v float64) bool {
	if !insideUnit(t.shape, u, v) {
		return false
	}
	if t.cut && u*t.cutU+v*t.cutV < 0 {
		return false
	}
	return t.sector == 0 || math.Atan2(v, u)+math.Pi <= t.sector
}

// covers reports whether the object paints (u, v).
func (t *stencil) covers(u, v float64) bool {
	if !t.body(u, v) {
		return false
	}
	switch t.texture {
	case striped:
		w := u * t.pu
		return w-math.Floor(w) > .36
	case hollow:
		return !t.hole(u, v)
	case dotted:
		a, b := u*t.pu+.25, v*t.pv+.25
		a, b = a-math.Floor(a)-.5, b-math.Floor(b)-.5
		return a*a+b*b > .085
	}
	return true
}

// hole reports whether (u, v), a point of the body, lies in the hole of a hollow object. The wall follows cuts.
func (t *stencil) hole(u, v float64) bool {
	if !insideUnit(t.shape, u*t.inner, v*t.inner) {
		return false
	}
	wall := t.wall * .8
	if t.cut && u*t.cutU+v*t.cutV < wall {
		return false
	}
	if t.sector > 0 {
		if u < 0 && math.Abs(v) < wall { // the edge at angle -π
			return false
		}
		if u*t.sectorU+v*t.sectorV > 0 && math.Abs(u*t.sectorV-v*t.sectorU) < wall {
			return false
		}
	}
	return true
}

// contactGrid is the number of sample points across an object when contact is measured.
const contactGrid = 24

// contact moves b from a's centre along direction angle until the two bodies just meet, and returns the distance
// of the centres. Positions of b are ignored.
func contact(a, b *object, angle float64) float64 {
	ta := a.prepare(0)
	e := a.extent()
	var px, py [contactGrid * contactGrid]float64
	n := 0
	for i := range contactGrid {
		for j := range contactGrid {
			x, y := e*(2*(float64(i)+.5)/contactGrid-1), e*(2*(float64(j)+.5)/contactGrid-1)
			if ta.body(ta.ux*x+ta.uy*y, ta.vx*x+ta.vy*y) {
				px[n], py[n] = x, y
				n++
			}
		}
	}
	tb := b.prepare(0)
	s, c := math.Sincos(angle)
	low, high := 0.0, e+b.extent()
	for range 10 {
		mid := (low + high) / 2
		meets := false
		for i := 0; i < n && !meets; i++ {
			x, y := px[i]-c*mid, py[i]-s*mid
			meets = tb.body(tb.ux*x+tb.uy*y, tb.vx*x+tb.vy*y)
		}
		if meets {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// lowest returns how far the body of o reaches below its centre.
func (o *object) lowest() float64 {
	t := o.prepare(0)
	e := o.extent()
	for y := e; y > 0; y -= e / 64 {
		for x := -e; x <= e; x += e / 24 {
			if t.body(t.ux*x+t.uy*y, t.vx*x+t.vy*y) {
				return y
			}
		}
	}
	return 0
}
