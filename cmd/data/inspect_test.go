package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/scenes"
	"relsim/viewer/browsertest"
)

// TestInspectPage opens the page of a hostile set in a browser, on a desk and on a phone, light and dark.
func TestInspectPage(t *testing.T) {
	browser := browsertest.Start(t)
	dir := t.TempDir()
	cfg := scenes.Config{Seed: 3, Size: 48, TrainProfiles: 4, Twins: 10, ValProfiles: 1, ValTwins: 1, TestProfiles: 1, TestTwins: 1}
	if _, err := scenes.Write(t.Context(), filepath.Join(dir, "scenes"), cfg, scenes.Options{TrainPictures: 40}); err != nil {
		t.Fatal(err)
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "scenes", "images", "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	lines := json.NewEncoder(&rows)
	hostile := []string{
		"<img src=x onerror=document.title='out'> {A}", "</style><script>document.title='out'</script>", "\u202eabc {B}\u2069 Paris", strings.Repeat("x", 50_000),
		"שלום {C} עולם", strings.Repeat("{Long word} ", 3000), "a\x00b {D", "{E} red",
	}
	for i, path := range pictures {
		id := strings.TrimSuffix(filepath.Base(path), ".png")
		row := map[string]any{"image_hash": id, "caption": hostile[i%len(hostile)], "split": []string{"train", strings.Repeat("long", 30)}[i%2],
			"url_link": "https://" + strings.Repeat("sub.", 40) + "example/<b>", "relation": strings.Repeat("r", 1+i%3*40)}
		if err := lines.Encode(row); err != nil {
			t.Fatal(err)
		}
		row["image_hash"], row["split"] = fmt.Sprintf("copy%d", i), "test"
		if err := lines.Encode(row); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "scenes", "images", fmt.Sprintf("copy%d.png", i)), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "scenes", "hostile.jsonl")
	if err := os.WriteFile(data, rows.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "page.html")
	var stdout, stderr bytes.Buffer
	if status := run(context.Background(), []string{"inspect", "--data", data, "--out", page}, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, tt := range []struct {
		name string
		o    browsertest.Options
	}{
		{"desk", browsertest.Options{}}, {"desk-dark", browsertest.Options{Dark: true}},
		{"phone", browsertest.Options{Phone: true}}, {"phone-dark", browsertest.Options{Phone: true, Dark: true}},
	} {
		tab := browser.Tab(t, tt.o) // what the console shows fails the test
		tab.Goto(server.URL + "/page.html")
		if title := tab.Text("document.title"); title != "Inspection of hostile.jsonl" {
			t.Errorf("%s: the title is %q: code of the data ran", tt.name, title)
		}
		tab.Eval("document.querySelectorAll('details').forEach(d => d.open = true)", nil)
		tab.Eval("document.querySelectorAll('img').forEach(i => i.loading = 'eager')", nil)
		tab.Wait("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
		if n := tab.Number("document.images.length"); n < 40 {
			t.Errorf("%s: %v pictures", tt.name, n)
		}
		if tab.True("document.documentElement.scrollWidth > innerWidth") {
			t.Errorf("%s: the page is wider than its window: %v", tt.name, tab.Number("document.documentElement.scrollWidth"))
		}
		if tab.True("[...document.querySelectorAll('.card')].some(c => c.scrollWidth > c.clientWidth + 1)") {
			t.Errorf("%s: a card is wider than its place", tt.name)
		}
		if n := tab.Number("[...document.querySelectorAll('figure.plot')].filter(f => [...f.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0).length != 1).length"); n != 0 {
			t.Errorf("%s: %v figures do not show one of their two widths", tt.name, n)
		}
		tab.Screenshot(os.Getenv("SCREENSHOTS"), "inspect-"+tt.name)
	}
}
