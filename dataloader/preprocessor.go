package dataloader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"relsim/kernel"
)

// ReadPreprocessor reads how a published model wants its pictures, from the
// preprocessor_config.json of Hugging Face's transformers or the config.json of a timm
// model:
//
//   - CLIPImageProcessor, BitImageProcessor (DINOv2) and ViTImageProcessor, also by
//     their older names (…FeatureExtractor) and as …Fast. What a file does not say, or
//     says to be null, has the default of that class.
//   - timm's pretrained_cfg (or its keys alone): input_size, interpolation, crop_pct,
//     crop_mode "center" or "squash", mean, std.
//
// Pixels are those of the processors that resize by Pillow. The …Fast ones, which resize
// tensors, differ from these by a unit here and there. do_convert_rgb makes no
// difference: pictures are RGB.
//
// Other processors, steps that would change pixels in ways that a [Transform] does not
// know, and sizes below 1 or above 8192 are errors.
//
// Source: transformers 4.50, models/{clip,bit,vit}/image_processing_*.py; timm 1.0,
// data/transforms_factory.py.
func ReadPreprocessor(data []byte) (Transform, error) {
	t, err := readPreprocessor(data)
	if err == nil {
		err = t.Validate()
	}
	if err != nil {
		return Transform{}, fmt.Errorf("dataloader: preprocessor: %w", err)
	}
	return t, nil
}

// maxPreprocessor bounds a file. Published ones have some 500 bytes, a timm config with
// its list of labels more.
const maxPreprocessor = 4 << 20

func readPreprocessor(data []byte) (Transform, error) {
	if len(data) > maxPreprocessor {
		return Transform{}, fmt.Errorf("%d bytes, more than the limit of %d", len(data), maxPreprocessor)
	}
	var which struct {
		Type       string          `json:"image_processor_type"`
		Older      string          `json:"feature_extractor_type"`
		Pretrained json.RawMessage `json:"pretrained_cfg"`
		InputSize  json.RawMessage `json:"input_size"`
	}
	if err := json.Unmarshal(data, &which); err != nil {
		return Transform{}, err
	}
	switch {
	case given(which.Pretrained):
		return readTimm(which.Pretrained)
	case which.Type == "" && which.Older == "" && given(which.InputSize):
		return readTimm(data)
	}
	name := which.Type
	if name == "" {
		name = which.Older
	}
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "Fast"), "ImageProcessor"), "FeatureExtractor")
	p, ok := processors[base]
	if !ok || base == name {
		return Transform{}, fmt.Errorf("image_processor_type %q: want CLIPImageProcessor, BitImageProcessor or ViTImageProcessor, or a timm model's pretrained_cfg", name)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return Transform{}, err
	}
	return p.transform()
}

// given says that a value is there and not null.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// processor has the keys of a preprocessor_config.json. A value of null leaves the
// default that stands here.
type processor struct {
	DoResize      bool            `json:"do_resize"`
	Size          json.RawMessage `json:"size"`
	Resample      int             `json:"resample"` // a number of PIL.Image.Resampling
	DoCenterCrop  bool            `json:"do_center_crop"`
	CropSize      json.RawMessage `json:"crop_size"`
	DoRescale     bool            `json:"do_rescale"`
	RescaleFactor float64         `json:"rescale_factor"`
	DoNormalize   bool            `json:"do_normalize"`
	ImageMean     json.RawMessage `json:"image_mean"`
	ImageStd      json.RawMessage `json:"image_std"`
	UseSquareSize bool            `json:"use_square_size"` // of old CLIP files: size is that of a square
	DoPad         bool            `json:"do_pad"`

	crops     bool // the class can crop; else the keys of the crop have no meaning
	size      processorSize
	mean, std [3]float64
}

// processorSize is a size as the files write it: a side (of the shorter side, or of a
// square), or height and width.
type processorSize struct{ shortest, height, width int }

var (
	clipMean = [3]float64{0.48145466, 0.4578275, 0.40821073}
	clipStd  = [3]float64{0.26862954, 0.26130258, 0.27577711}
	half     = [3]float64{0.5, 0.5, 0.5}

	imageNetMean = [3]float64{0.485, 0.456, 0.406}
	imageNetStd  = [3]float64{0.229, 0.224, 0.225}
)

// processors has the defaults of each class.
var processors = map[string]processor{
	"CLIP": clipProcessor,
	"Bit":  clipProcessor,
	"ViT": {
		DoResize: true, Resample: 2, DoRescale: true, RescaleFactor: rescaleFactor, DoNormalize: true,
		size: processorSize{height: 224, width: 224}, mean: half, std: half,
	},
}

var clipProcessor = processor{
	DoResize: true, Resample: 3, DoCenterCrop: true, DoRescale: true, RescaleFactor: rescaleFactor, DoNormalize: true,
	crops: true, size: processorSize{shortest: 224}, mean: clipMean, std: clipStd,
}

const rescaleFactor = 1.0 / 255

// pilFilters are the filters by their numbers in PIL.Image.Resampling. 5, Hamming, is
// not among ours.
var pilFilters = []kernel.Filter{kernel.Nearest, kernel.Lanczos, kernel.Bilinear, kernel.Bicubic, kernel.Box}

func (p processor) transform() (Transform, error) {
	var t Transform
	if p.DoPad {
		return t, errors.New("do_pad is true: want false")
	}
	size, err := readSize("size", p.Size, p.size, p.crops && !p.UseSquareSize)
	if err != nil {
		return t, err
	}
	crop := processorSize{height: 224, width: 224}
	if crop, err = readSize("crop_size", p.CropSize, crop, false); err != nil {
		return t, err
	}
	crops := p.crops && p.DoCenterCrop
	if crops && crop.shortest > 0 {
		return t, fmt.Errorf("crop_size %s: want a number, or height and width", p.CropSize)
	}
	switch {
	case p.DoResize && size.shortest > 0:
		t.Geometry = Geometry{Resize: ResizeShortest, Side: size.shortest}
	case p.DoResize:
		t.Geometry = Geometry{Resize: ResizeExact, Height: size.height, Width: size.width}
	default:
		t.Geometry.Resize = ResizeNone
	}
	if p.DoResize {
		if p.Resample < 0 || p.Resample >= len(pilFilters) {
			return t, fmt.Errorf("resample is %d: want 0 (nearest), 1 (Lanczos), 2 (bilinear), 3 (bicubic) or 4 (box)", p.Resample)
		}
		t.Geometry.Filter = pilFilters[p.Resample].String()
	}
	switch {
	case crops:
	case t.Geometry.Resize == ResizeExact:
		crop = size
	default:
		return t, errors.New("pictures would keep a shape of their own: want do_center_crop, or do_resize to a height and a width")
	}
	t.setSize(crop.height, crop.width)
	t.Normalize = Normalize{Std: [3]float64{1, 1, 1}, Scale: 1}
	if p.DoRescale {
		if t.Normalize.Scale = p.RescaleFactor; !(p.RescaleFactor > 0) {
			return t, fmt.Errorf("rescale_factor is %v: want a number above 0", p.RescaleFactor)
		}
	}
	if p.DoNormalize {
		if t.Normalize.Mean, err = readChannels("image_mean", p.ImageMean, p.mean); err != nil {
			return t, err
		}
		if t.Normalize.Std, err = readChannels("image_std", p.ImageStd, p.std); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *Transform) setSize(height, width int) {
	t.Size, t.Width = height, width
	if height == width {
		t.Width = 0
	}
}

// readSize reads 224, {"shortest_edge": 224} or {"height": 224, "width": 224}. A number
// alone is that of the shorter side, or of a square.
func readSize(key string, raw json.RawMessage, def processorSize, shortest bool) (processorSize, error) {
	if !given(raw) {
		return def, nil
	}
	bad := fmt.Errorf(`%s is %.100s: want a number, {"shortest_edge": …} or {"height": …, "width": …}, of 1 to %d`, key, raw, maxSize)
	ok := func(v int) bool { return v >= 1 && v <= maxSize }
	var side int
	if json.Unmarshal(raw, &side) == nil {
		switch {
		case !ok(side):
			return def, bad
		case shortest:
			return processorSize{shortest: side}, nil
		}
		return processorSize{height: side, width: side}, nil
	}
	var edges struct {
		Shortest *int `json:"shortest_edge"`
		Height   *int `json:"height"`
		Width    *int `json:"width"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&edges) != nil {
		return def, bad
	}
	switch {
	case edges.Shortest != nil && edges.Height == nil && edges.Width == nil && ok(*edges.Shortest):
		return processorSize{shortest: *edges.Shortest}, nil
	case edges.Shortest == nil && edges.Height != nil && edges.Width != nil && ok(*edges.Height) && ok(*edges.Width):
		return processorSize{height: *edges.Height, width: *edges.Width}, nil
	}
	return def, bad
}

// readChannels reads three numbers, or one for all channels.
func readChannels(key string, raw json.RawMessage, def [3]float64) ([3]float64, error) {
	if !given(raw) {
		return def, nil
	}
	var one float64
	if json.Unmarshal(raw, &one) == nil {
		return [3]float64{one, one, one}, nil
	}
	var list []float64
	if json.Unmarshal(raw, &list) != nil || len(list) != 3 {
		return def, fmt.Errorf("%s is %.100s: want three numbers, those of red, green and blue", key, raw)
	}
	return [3]float64(list), nil
}

// readTimm reads a pretrained_cfg of timm.
func readTimm(data []byte) (Transform, error) {
	var t Transform
	c := struct {
		InputSize     []int           `json:"input_size"`
		Interpolation string          `json:"interpolation"`
		CropPct       float64         `json:"crop_pct"`
		CropMode      string          `json:"crop_mode"`
		Mean          json.RawMessage `json:"mean"`
		Std           json.RawMessage `json:"std"`
	}{Interpolation: "bicubic", CropPct: 0.875, CropMode: "center"}
	if err := json.Unmarshal(data, &c); err != nil {
		return t, fmt.Errorf("pretrained_cfg: %w", err)
	}
	if c.InputSize == nil {
		c.InputSize = []int{3, 224, 224}
	}
	if len(c.InputSize) != 3 || c.InputSize[0] != 3 || slices.Min(c.InputSize) < 1 || slices.Max(c.InputSize) > maxSize {
		return t, fmt.Errorf("input_size %v: want 3 channels, and a height and a width of 1 to %d", c.InputSize, maxSize)
	}
	if _, ok := filters[c.Interpolation]; !ok {
		return t, fmt.Errorf(`interpolation %q: want "nearest", "box", "bilinear", "bicubic" or "lanczos"`, c.Interpolation)
	}
	height, width := c.InputSize[1], c.InputSize[2]
	resized := func(v int) int { return int(min(math.Floor(float64(v)/c.CropPct), 1<<30)) }
	if !(c.CropPct > 0) || resized(max(height, width)) > maxSize || resized(min(height, width)) < 1 {
		return t, fmt.Errorf("crop_pct is %v: want a share of the resized picture, which may have 1 to %d pixels along each side", c.CropPct, maxSize)
	}
	switch {
	case c.CropMode == "squash":
		t.Geometry = Geometry{Resize: ResizeExact, Height: resized(height), Width: resized(width)}
	case c.CropMode == "center" && height == width:
		t.Geometry = Geometry{Resize: ResizeShortest, Side: resized(height)}
	default:
		return t, fmt.Errorf(`crop_mode %q of input_size %v: want "center" of a square, or "squash"`, c.CropMode, c.InputSize)
	}
	t.Geometry.Filter, t.Geometry.Middle = c.Interpolation, MiddleEven
	t.setSize(height, width)
	t.Normalize.Scale = rescaleFactor
	var err error
	if t.Normalize.Mean, err = readChannels("mean", c.Mean, imageNetMean); err != nil {
		return t, err
	}
	t.Normalize.Std, err = readChannels("std", c.Std, imageNetStd)
	return t, err
}
