package scenes

import (
	"context"
	"fmt"
	"testing"
)

func TestInkTable(t *testing.T) {
	cfg := Default()
	cfg.TrainProfiles = 480
	ps, err := Generate(context.Background(), cfg, Train, 0)
	if err != nil {
		t.Fatal(err)
	}
	fams := Families()
	var ink, n, cnt [32]float64
	for _, p := range ps {
		ink[p.Family] += p.Ink
		cnt[p.Family] += float64(p.Count)
		n[p.Family]++
	}
	for f := range fams {
		if n[f] > 0 {
			fmt.Printf("%-12s n=%.0f ink=%.4f count=%.2f\n", fams[f].Name, n[f], ink[f]/n[f], cnt[f]/n[f])
		}
	}
}
