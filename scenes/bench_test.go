package scenes

import (
	"fmt"
	"testing"
)

// BenchmarkPicture draws training pictures one after the other: pictures a second of one core.
func BenchmarkPicture(b *testing.B) {
	for _, size := range []int{64, 128, 256} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			cfg := Default()
			cfg.Size = size
			s, err := Open(cfg, Train)
			if err != nil {
				b.Fatal(err)
			}
			pix := make([]byte, size*size*3)
			b.SetBytes(int64(len(pix)))
			i := 0
			for b.Loop() {
				s.Draw(i%s.Len(), pix)
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
		})
	}
}
