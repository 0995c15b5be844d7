package viewer

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"strconv"

	"relsim/study"
)

//go:embed assets/study.html
var studyHTML string

//go:embed assets/study.css
var studyCSS string

//go:embed assets/study.js
var studyJS string

// studySide is the longer side of the pictures that raters see, in pixels.
const studySide = 512

// AddStudy shows a study to raters, at a path as [Site.AddPage] takes it. p has the gallery that its plan was drawn from.
// What a rater's browser gets names no method, and no picture by anything but the number of a task.
func (s *Site) AddStudy(path string, c *study.Collection, p *Pictures) error {
	page := &Page{Title: "Which is related in the same way?", Style: studyCSS, Body: template.HTML(studyHTML), Script: studyJS}
	if err := s.AddPage(path, page); err != nil {
		return err
	}
	reply := func(w http.ResponseWriter, q study.Question, err error) {
		switch {
		case errors.Is(err, study.ErrRequest):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case errors.Is(err, study.ErrConflict):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil:
			http.Error(w, "the vote could not be kept: tell who runs this study", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(q) // who went away asks again
		}
	}
	s.Handle("GET "+path+"question", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		place := study.Unanswered
		if text := r.URL.Query().Get("place"); text != "" {
			var err error
			if place, err = strconv.Atoi(text); err != nil || place < 0 {
				http.Error(w, "no such place", http.StatusBadRequest)
				return
			}
		}
		q, err := c.Ask(r.URL.Query().Get("rater"), place)
		reply(w, q, err)
	}))
	s.Handle("POST "+path+"answer", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a struct {
			Rater    string  `json:"rater"`
			Task     string  `json:"task"`
			Answer   string  `json:"answer"`
			Revision int     `json:"revision"`
			Seconds  float64 `json:"seconds"`
		}
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			http.Error(w, "not an answer", http.StatusBadRequest)
			return
		}
		q, err := c.Answer(a.Rater, a.Task, a.Answer, a.Revision, a.Seconds)
		if err != nil && s.Trouble != nil && !errors.Is(err, study.ErrRequest) && !errors.Is(err, study.ErrConflict) {
			s.Trouble(err)
		}
		reply(w, q, err)
	}))
	s.Handle("GET "+path+"picture/{task}/{side}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := c.Picture(r.URL.Query().Get("rater"), r.PathValue("task"), r.PathValue("side"))
		if i < 0 || i >= p.Len() {
			http.Error(w, "no such picture", http.StatusNotFound)
			return
		}
		kind, data, err := p.faithful(r.Context(), i)
		if err != nil {
			if r.Context().Err() == nil {
				http.Error(w, StateOf(err).String(), http.StatusUnprocessableEntity)
			}
			return
		}
		w.Header().Set("Cache-Control", "private, max-age=300")
		serve(w, r, kind, data, etagOf(data))
	}))
	return nil
}

// faithful returns picture i for somebody who is to judge it: a small one without loss, others with hardly any. What the
// file says besides its pixels is not in it.
func (p *Pictures) faithful(ctx context.Context, i int) (kind string, data []byte, err error) {
	if err := p.decode.Acquire(ctx, 1); err != nil {
		return "", nil, err
	}
	defer p.decode.Release(1)
	im, err := shrunk(ctx, p.ds, i, studySide)
	if err != nil {
		return "", nil, err
	}
	rgba := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for k := range im.Width * im.Height {
		copy(rgba.Pix[4*k:], im.Pix[3*k:3*k+3])
		rgba.Pix[4*k+3] = 255
	}
	var b bytes.Buffer
	kind = "image/png"
	if im.Width*im.Height <= 160*160 {
		err = png.Encode(&b, rgba)
	} else {
		kind = "image/jpeg"
		err = jpeg.Encode(&b, rgba, &jpeg.Options{Quality: 95})
	}
	if err != nil {
		return "", nil, fmt.Errorf("viewer: encode picture %d: %w", i, err)
	}
	return kind, b.Bytes(), nil
}
