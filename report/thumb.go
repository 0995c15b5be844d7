package report

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"

	"github.com/disintegration/imaging"

	"relsim/dataloader"
)

// thumbSide is the longer side of a thumbnail in pixels; the page shows it at
// 84 CSS pixels or less.
const thumbSide = 96

// thumbnail returns the picture as the src attribute of an <img>: a PNG or
// JPEG in a data URI, whichever is smaller, no side longer than thumbSide.
// Small pictures keep their size. (A template.URL would do, but html/template
// writes its every + as five letters.)
func thumbnail(im *dataloader.Image) (template.HTMLAttr, error) {
	if im == nil || im.Width < 1 || im.Height < 1 || len(im.Pix) < 3*im.Width*im.Height {
		return "", errNoPixels
	}
	rgba := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		copy(rgba.Pix[4*i:], im.Pix[3*i:3*i+3])
		rgba.Pix[4*i+3] = 255
	}
	if im.Width > thumbSide || im.Height > thumbSide {
		rgba = imaging.Fit(rgba, thumbSide, thumbSide, imaging.Lanczos)
	}
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, rgba); err != nil {
		return "", err
	}
	if err := jpeg.Encode(&asJPEG, rgba, &jpeg.Options{Quality: 90}); err != nil {
		return "", err
	}
	kind, data := "png", asPNG.Bytes()
	if asJPEG.Len() < len(data) {
		kind, data = "jpeg", asJPEG.Bytes()
	}
	return template.HTMLAttr(`src="data:image/` + kind + ";base64," + base64.StdEncoding.EncodeToString(data) + `"`), nil
}
