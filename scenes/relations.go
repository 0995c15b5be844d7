package scenes

// relation builds the scenes of one family.
type relation struct {
	build func(*scene)
	// breakable says that build obeys scene.broken: it takes the predicate away by a minimal edit.
	breakable bool
}

// relations holds the builder of every family in families.json.
var relations = map[string]relation{
	"contain": {contain, true},
	"touch":   {touch, true},
	"overlap": {overlap, true},
	"nested":  {nested, true},

	"line":    {straightLine, true},
	"ring":    {closedRing, true},
	"grid":    {regularGrid, true},
	"scatter": {scatter, false},
	"zigzag":  {zigzag, true},

	"growth":   {growth, true},
	"fade":     {fade, true},
	"rotate":   {rotate, true},
	"complete": {complete, true},
	"count_up": {countUp, true},

	"same":      {same, false},
	"odd_color": {oddColor, true},
	"odd_shape": {oddShape, true},
	"odd_size":  {oddSize, true},

	"alternate": {alternate, true},
	"blocks":    {blocks, true},
	"sandwich":  {sandwich, true},
	"missing":   {missing, true},

	"mirror":        {mirror, true},
	"turn_symmetry": {turnSymmetry, true},

	"outline":  {outline, true},
	"halves":   {halves, true},
	"outsider": {outsider, true},
	"clusters": {clusters, true},
	"tree":     {tree, true},

	"peek":    {peek, true},
	"stack":   {stack, true},
	"blocked": {blocked, true},
}
