package scenes

import (
	"testing"
)

func BenchmarkPicture(b *testing.B) {
	s, err := Open(Default(), Train)
	if err != nil {
		b.Fatal(err)
	}
	pix := make([]byte, 64*64*3)
	i := 0
	for b.Loop() {
		s.Draw(i%s.Len(), pix)
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
}
