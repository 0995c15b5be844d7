package download

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"relsim/dataloader"
	"relsim/download/downloadtest"
)

// serveTest starts a server, and returns the port that all hosts of the tests have.
func serveTest(t *testing.T, f http.HandlerFunc) (port string) {
	s := httptest.NewServer(f)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL[strings.LastIndex(s.URL, ":"):]
}

// TestPerHost counts the requests that a host gets at the same time.
func TestPerHost(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	active, most, all, allMost := map[string]int{}, map[string]int{}, 0, 0
	port := serveTest(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		active[r.Host]++
		all++
		most[r.Host], allMost = max(most[r.Host], active[r.Host]), max(allMost, all)
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		active[r.Host]--
		all--
		mu.Unlock()
		w.Write(downloadtest.Picture(0))
	})
	o := quick(t, nil)
	o.Workers, o.PerHost = 20, 3
	var rows []downloadtest.Row
	for i := range 200 { // half of them on one host
		host := fmt.Sprintf("h%d.test", max(0, i-100)%9)
		rows = append(rows, downloadtest.Row{ID: fmt.Sprint("r", i), URL: "http://" + host + port + fmt.Sprint("/", i), Status: Done, Picture: downloadtest.Picture(0)})
	}
	writeRows(t, o.From, rows)
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
	for host, n := range most {
		if n > o.PerHost {
			t.Errorf("%s had %d requests at the same time, want at most %d", host, n, o.PerHost)
		}
	}
	if allMost > o.Workers || allMost <= o.PerHost {
		t.Errorf("%d requests at the same time, want more than one host's %d and at most %d", allMost, o.PerHost, o.Workers)
	}
}

// TestWaiting has one worker, and a row that waits: all others come before it.
func TestWaiting(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	port := serveTest(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		order = append(order, r.Host+r.URL.Path)
		n := len(order)
		mu.Unlock()
		if n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Write(downloadtest.Picture(0))
	})
	o := quick(t, nil)
	o.Workers = 1
	var rows []downloadtest.Row
	for i := range 40 {
		host := "busy.test"
		if i >= 2 {
			host = "h.test"
		}
		rows = append(rows, downloadtest.Row{ID: fmt.Sprint("r", i), URL: "http://" + host + port + fmt.Sprint("/", i), Status: Done, Picture: downloadtest.Picture(0)})
	}
	writeRows(t, o.From, rows)
	start := time.Now()
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
	if d := time.Since(start); d < time.Second {
		t.Errorf("it took %v, and a host had asked to wait a second", d)
	}
	if len(order) != 41 {
		t.Fatalf("%d requests, want 41", len(order))
	}
	for i, path := range order {
		if busy := strings.HasPrefix(path, "busy"); busy != (i == 0 || i >= 39) {
			t.Errorf("request %d went to %s", i, path)
		}
	}
}

// noise is a picture that does not compress.
func noise(width, height int) *image.NRGBA {
	random := rand.New(rand.NewPCG(1, 2))
	im := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range im.Pix {
		im.Pix[i] = byte(random.Uint32()) | byte(i%4/3*255)
	}
	return im
}

// TestLargeBody has pictures that are longer than what is kept in memory.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	data, err := encodePNG(noise(800, 700))
	if err != nil || len(data) < 1<<20+1<<19 {
		t.Fatal(len(data), err)
	}
	cut := data[:len(data)-1000]
	port := serveTest(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			w.Write(data[:1000])
			w.(http.Flusher).Flush()
			w.Write(data[1000:])
		case "/cut":
			w.Write(cut)
		default:
			w.Write(data)
		}
	})
	url := "http://h.test" + port
	rows := []downloadtest.Row{
		{ID: "whole", URL: url + "/whole", Status: Done, Picture: data},
		{ID: "chunked", URL: url + "/chunked", Status: Done, Picture: data},
		{ID: "twice", URL: url + "/chunked", Status: Done, Picture: data},
		{ID: "cut", URL: url + "/cut", Status: Failed, Reason: "broken picture"},
	}
	o := quick(t, nil)
	writeRows(t, o.From, rows)
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows) // no .part file either
	o.Dir, o.MaxBytes = t.TempDir(), 1<<20+1<<18
	for i := range rows {
		rows[i].Status, rows[i].Reason = Failed, "larger than 1.3 MB"
	}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
}

// TestConvert has formats that are stored as PNG: the same pixels.
func TestConvert(t *testing.T) {
	t.Parallel()
	im := noise(30, 20)
	var asBMP, asTIFF bytes.Buffer
	if err := bmp.Encode(&asBMP, im); err != nil {
		t.Fatal(err)
	}
	if err := tiff.Encode(&asTIFF, im, &tiff.Options{Compression: tiff.Deflate}); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"BMP": asBMP.Bytes(), "TIFF": asTIFF.Bytes()}
	port := serveTest(t, func(w http.ResponseWriter, r *http.Request) { w.Write(files[r.URL.Path[1:]]) })
	var rows []downloadtest.Row
	for name := range files {
		rows = append(rows, downloadtest.Row{ID: name, URL: "http://h.test" + port + "/" + name, Status: Done, Reason: name + " stored as PNG"})
	}
	o := quick(t, nil)
	writeRows(t, o.From, rows)
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
	for name := range files {
		f, err := os.Open(filepath.Join(o.Dir, "images", name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := png.Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		for y := range 20 {
			for x := range 30 {
				if a, b := color.NRGBAModel.Convert(got.At(x, y)), im.NRGBAAt(x, y); a != b {
					t.Fatalf("%s: pixel (%d, %d) is %v, want %v", name, x, y, a, b)
				}
			}
		}
	}
}

func TestSniff(t *testing.T) {
	for _, tt := range []struct{ head, contentType, ext, refused string }{
		{"", "", "", "empty"},
		{"\x89PNG\r\n\x1a\n....", "text/html", ".png", ""},
		{"\xff\xd8\xff\xe0", "", ".jpg", ""},
		{"RIFF\x00\x00\x00\x00WEBPVP8 ", "", ".webp", ""},
		{"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02", "", "", "unsupported format animated WebP"},
		{"GIF89a", "", ".png", ""},
		{"\x00\x00\x00\x20ftypheic", "", "", "unsupported format HEIC"},
		{"\x00\x00\x00\x20ftypmp42", "video/mp4", "", "not an image: video/mp4"},
		{"\xff\x0a.", "", "", "unsupported format JPEG XL"},
		{"<svg xmlns", "", "", "unsupported format SVG"},
		{"<!DOCTYPE html><svg>", "", "", "not an image: text/html"},
		{"%PDF-1.4", "", "", "not an image: application/pdf"},
		{"hello", "text/plain; charset=utf-8", "", "not an image: text/plain"},
		{"hello", "image/png", "", "not an image: text/plain"},
		{"\x01\x02\x03", "x\x00y", "", "not an image: application/octet-stream"},
	} {
		if k := sniff([]byte(tt.head), tt.contentType); k.refused != tt.refused || tt.refused == "" && k.ext != tt.ext {
			t.Errorf("%q %q: %q %q, want %q %q", tt.head, tt.contentType, k.ext, k.refused, tt.ext, tt.refused)
		}
	}
}

// FuzzDecode gives decoders what no server should send: an error at worst, and never more pixels than are allowed.
func FuzzDecode(f *testing.F) {
	for i := range 2 {
		f.Add(downloadtest.Picture(i))
	}
	var b bytes.Buffer
	tiff.Encode(&b, noise(4, 3), nil)
	f.Add(b.Bytes())
	b.Reset()
	bmp.Encode(&b, noise(4, 3))
	f.Add(b.Bytes())
	f.Add([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"))
	f.Add([]byte("RIFF\x00\x00\x00\x00WEBPVP8X"))
	o := Default()
	o.MaxPixels = 1 << 16
	f.Fuzz(func(t *testing.T, data []byte) {
		k := sniff(data[:min(len(data), sniffBytes)], "")
		if k.refused != "" {
			return
		}
		if _, err := header(k, data, o.MaxPixels); err != nil {
			return
		}
		p, err := o.decode(k, data)
		if err != nil {
			return
		}
		if int64(p.Width)*int64(p.Height) > o.MaxPixels || len(p.Pix) != 3*p.Width*p.Height {
			t.Errorf("%d×%d pixels, %d bytes", p.Width, p.Height, len(p.Pix))
		}
		if _, err := dataloader.Decode(p.data, dataloader.DefaultLimits); err != nil {
			t.Errorf("what would be stored: %v", err)
		}
	})
}
