package downloadtest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/")
	name, number, _ := strings.Cut(rest, "/")
	number, hop, _ := strings.Cut(number, "/")
	i, _ := strconv.Atoi(number)
	s.mu.Lock()
	s.requests[r.URL.Path]++
	nth := s.requests[r.URL.Path]
	if until, ok := s.paused[r.Host]; ok && time.Now().Before(until) {
		s.early++
	}
	s.mu.Unlock()
	picture := Picture(i)
	switch name {
	case "slow":
		time.Sleep(s.pause)
		w.Write(picture[:len(picture)/2])
		w.(http.Flusher).Flush()
		time.Sleep(s.pause)
		w.Write(picture[len(picture)/2:])
		s.whole(r.URL.Path)
		return
	case "shuts", "shuts-always":
		if nth == 1 || name == "shuts-always" {
			w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
			w.Write(picture[:len(picture)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	case "wrong-length":
		w.Header().Set("Content-Length", strconv.Itoa(len(picture)+100))
		w.Write(picture)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "cut":
		picture = picture[:len(picture)*2/3]
	case "404", "410", "403", "502-always":
		code, _ := strconv.Atoi(name[:3])
		w.WriteHeader(code)
		fmt.Fprint(w, "<html>no</html>")
		return
	case "429", "429-date":
		if nth == 1 {
			until := time.Now().Add(time.Second)
			w.Header().Set("Retry-After", "1")
			if name == "429-date" { // whole seconds
				until = time.Now().Truncate(time.Second).Add(2 * time.Second)
				w.Header().Set("Retry-After", until.UTC().Format(http.TimeFormat))
			}
			s.mu.Lock()
			s.paused[r.Host] = until.Add(-20 * time.Millisecond) // the answer takes time
			s.mu.Unlock()
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
	case "500", "503":
		if nth == 1 {
			code, _ := strconv.Atoi(name)
			w.WriteHeader(code)
			return
		}
	case "redirect":
		if hop == "" {
			http.Redirect(w, r, r.URL.Path+"/there", http.StatusFound)
			return
		}
	case "redirect-host":
		if hop == "" {
			http.Redirect(w, r, fmt.Sprintf("http://other%d.test:%s%s/there", i%7, s.port(s.plain), r.URL.Path), http.StatusMovedPermanently)
			return
		}
	case "redirect-loop":
		to := "/" + name + "/" + number + "/there"
		if hop != "" {
			to = "/" + name + "/" + number
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	case "redirect-far":
		n, _ := strconv.Atoi(hop)
		http.Redirect(w, r, fmt.Sprintf("/%s/%s/%d", name, number, n+1), http.StatusSeeOther)
		return
	case "redirect-ftp":
		w.Header().Set("Location", "ftp://h0.test/x.png")
		w.WriteHeader(http.StatusFound)
		return
	case "html":
		w.Header().Set("Content-Type", "image/png") // a lie
		fmt.Fprint(w, "<!DOCTYPE html><html><body>Buy this domain</body></html>")
		return
	case "json":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"error":"no"}`)
		return
	case "empty":
		w.Header().Set("Content-Length", "0")
		return
	case "bomb-pixels":
		picture = bombPNG()
	case "bomb-gzip":
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(s.bombs)
		return
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(gzipped(picture))
		s.whole(r.URL.Path)
		return
	case "endless":
		w.Write(picture[:40])
		for zeros := make([]byte, 1<<16); ; {
			if _, err := w.Write(zeros); err != nil || r.Context().Err() != nil {
				return
			}
		}
	case "huge":
		w.Header().Set("Content-Length", "10000000000")
		w.Write(picture)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "drip":
		w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
		for _, c := range picture {
			w.Write([]byte{c})
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	case "mute":
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
		return
	case "noai":
		w.Header().Add("X-Robots-Tag", "nofollow")
		w.Header().Add("X-Robots-Tag", "noarchive, NoAI")
	case "noindex":
		w.Header().Set("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST, noindex")
	case "noai-others":
		w.Header().Set("X-Robots-Tag", "otherbot: noai, noimageai")
	case "avif":
		picture = append([]byte("\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf"), make([]byte, 900)...)
	case "svg":
		picture = []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`)
	case "gif":
		picture = gifPicture()
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
	w.Write(picture)
	s.whole(r.URL.Path)
}

// whole notes that a whole picture has been sent.
func (s *Server) whole(path string) {
	s.mu.Lock()
	s.delivered[path]++
	s.mu.Unlock()
}

// pictures are made once: PNG and JPEG, of different sizes and colours.
var pictures = sync.OnceValue(func() (list [64][]byte) {
	for i := range list {
		w, h := 24+i%5*8, 24+i%7*8
		im := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				im.Set(x, y, color.RGBA{byte(x * i), byte(y*7 + i), byte(x ^ y), 255})
			}
		}
		var b bytes.Buffer
		if i%2 == 0 {
			png.Encode(&b, im)
		} else {
			jpeg.Encode(&b, im, nil)
		}
		list[i] = b.Bytes()
	}
	return list
})

// Picture returns the picture of address i.
func Picture(i int) []byte { return pictures()[i*37%64] }

// bombPNG claims to have 50,000×50,000 pixels.
func bombPNG() []byte {
	b := bytes.Clone(pictures()[0])
	copy(b[16:24], "\x00\x00\xc3\x50\x00\x00\xc3\x50")
	sum := crc32.ChecksumIEEE(b[12:29])
	copy(b[29:33], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return b
}

// gifPicture has two frames: red, then blue.
var gifPicture = sync.OnceValue(func() []byte {
	g := &gif.GIF{}
	for i := range 2 {
		im := image.NewPaletted(image.Rect(0, 0, 20, 10), color.Palette{color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}})
		for k := range im.Pix {
			im.Pix[k] = byte(i)
		}
		g.Image = append(g.Image, im)
		g.Delay = append(g.Delay, 10)
	}
	var b bytes.Buffer
	gif.EncodeAll(&b, g)
	return b.Bytes()
})
