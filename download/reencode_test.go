package download_test

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/download"
)

func TestReencode(t *testing.T) {
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 41, 20))); err != nil {
		t.Fatal(err)
	}
	for format, magic := range map[string]string{download.PNG: "\x89PNG", download.JPEG: "\xff\xd8\xff", download.WebP: "RIFF"} {
		o := download.Default()
		o.Encode, o.Resize = format, 10
		data, err := o.Reencode(file.Bytes())
		if err != nil || !bytes.HasPrefix(data, []byte(magic)) {
			t.Errorf("%s: %v, %.10q", format, err, data)
			continue
		}
		im, err := dataloader.Decode(data, dataloader.DefaultLimits)
		if err != nil || im.Width != 21 || im.Height != 10 { // 20.5 rounds up
			t.Errorf("%s: %v, %+v", format, err, im)
		}
	}
	o := download.Default()
	o.Encode = download.PNG
	for text, want := range map[string]string{"": "empty", "<html>": "not an image: text/html", file.String()[:60]: "broken picture"} {
		if _, err := o.Reencode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: error %v, want %q", text, err, want)
		}
	}
	o.MaxPixels = 800
	if _, err := o.Reencode(file.Bytes()); err == nil || !strings.Contains(err.Error(), "too many pixels: 41×20") {
		t.Errorf("error %v", err)
	}
	o.Resize, o.Encode = 5, ""
	if _, err := o.Reencode(file.Bytes()); err == nil {
		t.Error("resized without being encoded")
	}
}
