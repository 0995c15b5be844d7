package nn

import (
	"strconv"
	"strings"
)

// Depth says how far from the input of its tower a parameter is: 0 for what is
// declared before the first block, i+1 for what is of block i, and layers+1 for
// what lies behind the blocks. Of a parameter of no tower, both are 0.
func (m *Model) Depth(p *Param) (depth, layers int) {
	for _, tower := range []Tower{VisionTower, TextTower} {
		if !tower.Has(p.Name) {
			continue
		}
		layers = m.Config.Text.Layers
		if tower == VisionTower {
			layers = m.Config.Vision.Layers
		}
		blocks := tower.prefix() + "blocks."
		if rest, ok := strings.CutPrefix(p.Name, blocks); ok {
			number, _, _ := strings.Cut(rest, ".")
			if i, err := strconv.Atoi(number); err == nil {
				return i + 1, layers
			}
		}
		for _, q := range m.Params.All() {
			if q == p && layers > 0 {
				return 0, layers
			}
			if strings.HasPrefix(q.Name, blocks) {
				break
			}
		}
		return layers + 1, layers
	}
	return 0, 0
}
