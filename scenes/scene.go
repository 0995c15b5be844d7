package scenes

import (
	"math"
	"math/rand/v2"
	"slices"
)

// scene collects the objects of one picture in scene units; fit maps them to pixels.
//
// Everything that both a picture and its near miss need is drawn from rng, and in the same order whether the scene
// is broken or not; what only the near miss needs comes from edit. So the two differ by the predicate alone.
type scene struct {
	rng, edit *rand.Rand
	profile   *profile
	objects   []object
	long      bool // copies on a course are long ones
	bare      bool // copies have no stripes or dots, which hide the form of small objects
	broken    bool // take the relation's predicate away
}

// kind returns a fresh object with the attributes of a slot of the profile.
func (s *scene) kind(slot int, x, y, radius float64) object {
	slot &= 3
	p := s.profile
	return object{shape: p.shape[slot], texture: p.texture[slot&1], color: p.color[slot], rgb: p.rgb[slot], alpha: 1,
		x: x, y: y, r: radius, sx: p.stretch[0], sy: p.stretch[1]}
}

// paint gives o the colour of a slot.
func (s *scene) paint(o *object, slot int) {
	o.color, o.rgb = s.profile.color[slot&3], s.profile.rgb[slot&3]
}

// varied returns n objects of mixed attributes, no two neighbours alike and at least three different ones.
func (s *scene) varied(n int, radius float64) []object {
	out := make([]object, n)
	for {
		var seen [16]bool
		kinds, good := 0, true
		last := -1
		for i := range out {
			a, b := s.rng.IntN(4), s.rng.IntN(4)
			o := s.kind(a, 0, 0, radius*(.8+.3*s.rng.Float64()))
			o.shape, o.texture = s.profile.shape[b], s.profile.texture[s.rng.IntN(2)]
			o.rot = s.rng.Float64() * 2 * math.Pi
			out[i] = o
			pair := 4*a + b
			good = good && pair != last
			last = pair
			if !seen[pair] {
				seen[pair] = true
				kinds++
			}
		}
		if good && kinds >= min(3, n) {
			return out
		}
	}
}

// copies returns n equal objects of one slot, all turned alike.
func (s *scene) copies(n, slot int, radius float64) []object {
	o := s.kind(slot, 0, 0, radius)
	o.rot = s.rng.Float64() * 2 * math.Pi
	if s.bare && o.texture != hollow {
		o.texture = plain
	}
	return slices.Repeat([]object{o}, n)
}

// lengthen stretches objects to the long form that shows a turn.
func (s *scene) lengthen(objects []object) {
	a := math.Sqrt(math.Max(s.profile.aspect, 2.6))
	for i := range objects {
		objects[i].sx, objects[i].sy = .8/a, .8*a
	}
}

// sometimesLengthen does so in two fifths of the pictures. Families of copies on a course call it, so that long objects
// on a course do not give away the family that turns them.
func (s *scene) sometimesLengthen(objects []object) {
	if s.long {
		s.lengthen(objects)
	}
}

func (s *scene) add(objects ...object) { s.objects = append(s.objects, objects...) }

// put adds the objects at the places.
func (s *scene) put(objects []object, at []point) {
	for i := range objects {
		objects[i].x, objects[i].y = at[i].x, at[i].y
	}
	s.add(objects...)
}

// place adds a group that was built around the origin, turned by angle and moved to c.
func (s *scene) place(group []object, c point, angle float64) {
	sin, cos := math.Sincos(angle)
	for _, o := range group {
		o.x, o.y = c.x+cos*o.x-sin*o.y, c.y+sin*o.x+cos*o.y
		o.rot += angle
		s.add(o)
	}
}

// instances adds a small relation several times at well separated places, so that the number of drawn things does
// not tell the family. unit is the spacing.
func (s *scene) instances(n int, unit float64, build func() []object) {
	for _, c := range spread(s.rng, n, 1.25) {
		s.place(build(), point{c.x * unit, c.y * unit}, s.rng.Float64()*2*math.Pi)
	}
}

// bar returns a beam of width w between two points in the colour of a slot.
func (s *scene) bar(slot int, x0, y0, x1, y1, w float64) object {
	o := s.kind(slot, (x0+x1)/2, (y0+y1)/2, w/2)
	o.shape, o.texture, o.aux = square, plain, true
	o.sx, o.sy = math.Hypot(x1-x0, y1-y0)/w/squareHalf, 1/squareHalf
	o.rot = math.Atan2(y1-y0, x1-x0)
	return o
}

// cell is the object radius in layouts of unit spacing.
func (s *scene) cell() float64 { return .5 * s.profile.size }

// placement is a global similarity transform, its random part drawn before the scene is known.
type placement struct {
	angle  float64 // turn
	side   float64 // longer side of the bounding box, as a share of the picture
	scale  float64 // 0, or pixels per unit, which side then only bounds
	dx, dy float64 // position within the room that is left, 0 to 1
}

// turn turns the scene by angle and returns its bounding box.
func (s *scene) turn(angle float64) (x0, y0, x1, y1 float64) {
	sin, cos := math.Sincos(angle)
	x0, y0, x1, y1 = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for i := range s.objects {
		o := &s.objects[i]
		o.x, o.y, o.rot = cos*o.x-sin*o.y, sin*o.x+cos*o.y, o.rot+angle
		ex, ey := o.box()
		x0, y0 = math.Min(x0, o.x-ex), math.Min(y0, o.y-ey)
		x1, y1 = math.Max(x1, o.x+ex), math.Max(y1, o.y+ey)
	}
	return x0, y0, x1, y1
}

// margin is the share of the picture that objects keep from its border.
const margin = .02

// fit turns the scene, scales its bounding box to the wanted side and shifts it into a picture of size pixels.
// It returns the scale.
func (s *scene) fit(size int, t placement) float64 {
	x0, y0, x1, y1 := s.turn(t.angle)
	full := float64(size)
	k := full * t.side / math.Max(x1-x0, y1-y0)
	if t.scale > 0 {
		k = min(k, t.scale)
	}
	left := full*margin + t.dx*(full*(1-2*margin)-(x1-x0)*k)
	top := full*margin + t.dy*(full*(1-2*margin)-(y1-y0)*k)
	for i := range s.objects {
		o := &s.objects[i]
		o.x, o.y, o.r = (o.x-x0)*k+left, (o.y-y0)*k+top, o.r*k
	}
	return k
}

// sprinkle adds specks clear of every object; they carry no relation.
func (s *scene) sprinkle(size int, rng *rand.Rand) {
	unit := float64(size) / 64
	base := len(s.objects)
	left := s.profile.dust
	for try := 0; try < 60 && left > 0; try++ {
		d := s.kind(rng.IntN(4), (3+58*rng.Float64())*unit, (3+58*rng.Float64())*unit, (.9+.5*rng.Float64())*unit)
		d.shape, d.texture, d.aux, d.sx, d.sy = circle, plain, true, 1, 1
		free := true
		for i := range s.objects[:base] {
			o := &s.objects[i]
			if math.Hypot(o.x-d.x, o.y-d.y) < o.extent()+3.5*unit {
				free = false
				break
			}
		}
		if free {
			s.add(d)
			left--
		}
	}
}
