package judgetest

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"relsim/retrieval"
)

// Drawn is a picture of some size, with a pattern of its own.
func Drawn(width, height, pattern int) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			im.SetRGBA(x, y, color.RGBA{uint8(x * 3), uint8(y * 5), uint8(pattern * 40), 255})
		}
	}
	return im
}

// Pictures are the files of a gallery of n pictures. Their sizes in bytes differ.
func Pictures(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		var b bytes.Buffer
		if err := png.Encode(&b, Drawn(8+2*i, 8, i)); err != nil {
			panic("judgetest: encode a picture: " + err.Error())
		}
		list[i] = b.Bytes()
	}
	return list
}

// Rankings are those of n items, each of which is a query, by two methods: "ours" finds the next ones, "theirs" those before.
func Rankings(n, top int) *retrieval.Rankings {
	r := &retrieval.Rankings{Data: "test", Split: "test", Top: top, Methods: []retrieval.RankedMethod{{Name: "ours", Kind: retrieval.Trained}, {Name: "theirs", Kind: retrieval.Baseline}}}
	for i := range n {
		r.Items = append(r.Items, retrieval.RankedItem{ID: fmt.Sprint(i)})
		q := retrieval.RankedQuery{Item: i, Rows: make([][]retrieval.RankedHit, 2)}
		for k := 1; k <= top; k++ {
			q.Rows[0] = append(q.Rows[0], retrieval.RankedHit{Item: (i + k) % n})
			q.Rows[1] = append(q.Rows[1], retrieval.RankedHit{Item: (i + n - k) % n})
		}
		r.Queries = append(r.Queries, q)
	}
	return r
}
