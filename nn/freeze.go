package nn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"relsim/graph"
)

// Tower names one of the encoders of a [Model].
type Tower string

// The towers.
const (
	VisionTower Tower = "vision"
	TextTower   Tower = "text"
)

// prefix begins the names of the parameters of the tower.
func (t Tower) prefix() string { return string(t) + "." }

// Has reports whether a parameter of that name is of the tower.
func (t Tower) Has(name string) bool { return strings.HasPrefix(name, t.prefix()) }

// Freeze marks the parameters of a tower, as [Params.Freeze] does.
func (m *Model) Freeze(t Tower) { m.Params.Freeze(t.prefix()) }

// Wrt returns the parameters of the graph of b that are not frozen: those whose
// gradient training needs.
func (m *Model) Wrt(b *graph.Builder) []*graph.Node {
	var learned []*graph.Node
	for _, n := range b.Params() {
		if p := m.Params.Lookup(n.Name()); p == nil || !p.Frozen {
			learned = append(learned, n)
		}
	}
	return learned
}

// Fingerprint is a hash of all that the embeddings of a tower depend on but its
// inputs: its configuration, the width of the embeddings, and its weights.
func (m *Model) Fingerprint(t Tower) [sha256.Size]byte {
	h := sha256.New()
	var config any = m.Config.Vision
	if t == TextTower {
		config = m.Config.Text
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic("nn: fingerprint: " + err.Error()) // plain numbers and strings
	}
	fmt.Fprintf(h, "relsim %s tower 1\n%s\n%d\n", t, text, m.Config.EmbedDim)
	for _, a := range m.adapters {
		if t.Has(a.A.Name) {
			fmt.Fprintf(h, "%s %v\n", a.Module.Name, a.Scale)
		}
	}
	buffer := make([]byte, 0, 1<<16)
	for _, p := range m.Params.All() {
		if !t.Has(p.Name) {
			continue
		}
		fmt.Fprintf(h, "%s %v\n", p.Name, p.Shape)
		for _, v := range p.Data {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
			if len(buffer) == cap(buffer) {
				h.Write(buffer)
				buffer = buffer[:0]
			}
		}
		h.Write(buffer)
		buffer = buffer[:0]
	}
	return [sha256.Size]byte(h.Sum(nil))
}
