package dataloader

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadPreprocessor has the files of published models, or what of them matters.
func TestReadPreprocessor(t *testing.T) {
	clip := Normalize{Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711}, Scale: 1.0 / 255}
	imageNet := Normalize{Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}, Scale: 1.0 / 255}
	halves := Normalize{Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.5, 0.5, 0.5}, Scale: 1.0 / 255}
	shortest := func(side int) Geometry { return Geometry{Resize: ResizeShortest, Side: side, Filter: "bicubic"} }
	timm := func(side int, filter string) Geometry {
		return Geometry{Resize: ResizeShortest, Side: side, Filter: filter, Middle: MiddleEven}
	}
	exact := func(h, w int, filter string) Geometry {
		return Geometry{Resize: ResizeExact, Height: h, Width: w, Filter: filter}
	}
	for name, tt := range map[string]struct {
		file string
		want Transform
	}{
		"clip-vit-large-patch14": {
			`{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor",
			"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224}`,
			Transform{Size: 224, Geometry: shortest(224), Normalize: clip},
		},
		"clip-vit-large-patch14-336": {
			`{"crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
			"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor", "rescale_factor": 0.00392156862745098,
			"resample": 3, "size": {"shortest_edge": 336}, "processor_class": "CLIPProcessor", "_valid_processor_keys": ["images"]}`,
			Transform{Size: 336, Geometry: shortest(336), Normalize: clip},
		},
		"dinov2-large": {
			`{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
			"image_mean": [0.485, 0.456, 0.406], "image_processor_type": "BitImageProcessor", "image_std": [0.229, 0.224, 0.225], "resample": 3,
			"rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 256}}`,
			Transform{Size: 224, Geometry: shortest(256), Normalize: imageNet},
		},
		"dino-vitb16": {
			`{"do_normalize": true, "do_resize": true, "feature_extractor_type": "ViTFeatureExtractor", "image_mean": [0.485, 0.456, 0.406],
			"image_std": [0.229, 0.224, 0.225], "resample": 2, "size": 224}`,
			Transform{Size: 224, Geometry: exact(224, 224, "bilinear"), Normalize: imageNet},
		},
		"vit-base-patch16-224 as saved by the fast class": {
			`{"crop_size": null, "data_format": "channels_first", "default_to_square": true, "device": null, "do_center_crop": null, "do_convert_rgb": null,
			"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessorFast",
			"image_std": [0.5, 0.5, 0.5], "input_data_format": null, "resample": 2, "rescale_factor": 0.00392156862745098, "return_tensors": null,
			"size": {"height": 224, "width": 224}}`,
			Transform{Size: 224, Geometry: exact(224, 224, "bilinear"), Normalize: halves},
		},
		"CLIP's defaults": {`{"image_processor_type": "CLIPImageProcessor"}`, Transform{Size: 224, Geometry: shortest(224), Normalize: clip}},
		"BiT's defaults":  {`{"image_processor_type": "BitImageProcessor"}`, Transform{Size: 224, Geometry: shortest(224), Normalize: clip}},
		"ViT's defaults":  {`{"image_processor_type": "ViTImageProcessor"}`, Transform{Size: 224, Geometry: exact(224, 224, "bilinear"), Normalize: halves}},
		"a shape of its own": {
			`{"image_processor_type": "ViTImageProcessor", "size": {"height": 96, "width": 128}, "resample": 0, "image_mean": 0.25, "image_std": 2}`,
			Transform{Size: 96, Width: 128, Geometry: exact(96, 128, "nearest"), Normalize: Normalize{[3]float64{0.25, 0.25, 0.25}, [3]float64{2, 2, 2}, 1.0 / 255}},
		},
		"resized to a shape, then cropped": {
			`{"image_processor_type": "CLIPImageProcessor", "size": {"height": 300, "width": 280}, "crop_size": {"height": 224, "width": 200}, "resample": 1}`,
			Transform{Size: 224, Width: 200, Geometry: exact(300, 280, "lanczos"), Normalize: clip},
		},
		"a square, by an old key": {
			`{"image_processor_type": "CLIPImageProcessor", "size": 224, "use_square_size": true, "resample": 4}`,
			Transform{Size: 224, Geometry: exact(224, 224, "box"), Normalize: clip},
		},
		"neither resized, rescaled nor normalised": {
			`{"image_processor_type": "BitImageProcessor", "do_resize": false, "do_rescale": false, "do_normalize": false, "resample": 99}`,
			Transform{Size: 224, Geometry: Geometry{Resize: ResizeNone}, Normalize: Normalize{Std: [3]float64{1, 1, 1}, Scale: 1}},
		},
		"timm/vit_base_patch16_224.augreg": {
			`{"architecture": "vit_base_patch16_224", "num_classes": 1000, "num_features": 768, "pretrained_cfg": {"tag": "augreg2_in21k_ft_in1k", "custom_load": false,
			"input_size": [3, 224, 224], "fixed_input_size": true, "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
			"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "num_classes": 1000, "pool_size": null, "first_conv": "patch_embed.proj", "classifier": "head"}}`,
			Transform{Size: 224, Geometry: timm(248, "bicubic"), Normalize: halves},
		},
		"timm's defaults": {`{"pretrained_cfg": {"input_size": null, "mean": null}}`, Transform{Size: 224, Geometry: timm(256, "bicubic"), Normalize: imageNet}},
		"timm's keys alone": {
			`{"architecture": "vit_small_patch14_dinov2", "input_size": [3, 518, 518], "crop_pct": 1.0, "interpolation": "bilinear"}`,
			Transform{Size: 518, Geometry: timm(518, "bilinear"), Normalize: imageNet},
		},
		"timm's squash": {
			`{"pretrained_cfg": {"input_size": [3, 384, 320], "crop_pct": 0.95, "crop_mode": "squash"}}`,
			Transform{Size: 384, Width: 320, Geometry: Geometry{Resize: ResizeExact, Height: 404, Width: 336, Filter: "bicubic", Middle: MiddleEven}, Normalize: imageNet},
		},
	} {
		got, err := ReadPreprocessor([]byte(tt.file))
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v (%v), want %+v", name, got, err, tt.want)
		}
	}
}

func TestReadPreprocessorRefuses(t *testing.T) {
	for file, want := range map[string]string{
		``:              "unexpected end",
		`[]`:            "cannot unmarshal",
		`{}`:            `image_processor_type ""`,
		`{"size": 224}`: `image_processor_type "": want CLIPImageProcessor, BitImageProcessor or ViTImageProcessor`,
		`{"image_processor_type": "Qwen2VLImageProcessor"}`:                                          `"Qwen2VLImageProcessor"`,
		`{"image_processor_type": "CLIP"}`:                                                           `"CLIP"`,
		`{"image_processor_type": 3}`:                                                                "image_processor_type",
		`{"image_processor_type": "CLIPImageProcessor", "size": -224}`:                               `size is -224: want a number`,
		`{"image_processor_type": "CLIPImageProcessor", "size": 1000000}`:                            "of 1 to 8192",
		`{"image_processor_type": "CLIPImageProcessor", "size": 224.5}`:                              "size is 224.5",
		`{"image_processor_type": "CLIPImageProcessor", "size": {"longest_edge": 9}}`:                `size is {"longest_edge": 9}`,
		`{"image_processor_type": "CLIPImageProcessor", "size": {"height": 9}}`:                      "size is",
		`{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 0}}`:               "size is",
		`{"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 9, "width": -1}}`:    "crop_size is",
		`{"image_processor_type": "CLIPImageProcessor", "crop_size": {"shortest_edge": 9}}`:          "crop_size",
		`{"image_processor_type": "CLIPImageProcessor", "crop_size": [224, 224]}`:                    "crop_size is [224, 224]",
		`{"image_processor_type": "CLIPImageProcessor", "resample": 5}`:                              "resample is 5",
		`{"image_processor_type": "CLIPImageProcessor", "resample": -1}`:                             "resample is -1",
		`{"image_processor_type": "CLIPImageProcessor", "resample": "bicubic"}`:                      "resample",
		`{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false}`:                    "want do_center_crop",
		`{"image_processor_type": "ViTImageProcessor", "do_resize": false}`:                          "want do_center_crop",
		`{"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 224}}`:              "want do_center_crop",
		`{"image_processor_type": "CLIPImageProcessor", "do_resize": "yes"}`:                         "do_resize",
		`{"image_processor_type": "CLIPImageProcessor", "do_pad": true}`:                             "do_pad",
		`{"image_processor_type": "CLIPImageProcessor", "rescale_factor": 0}`:                        "rescale_factor is 0",
		`{"image_processor_type": "CLIPImageProcessor", "rescale_factor": 1e999}`:                    "rescale_factor",
		`{"image_processor_type": "CLIPImageProcessor", "image_mean": [0.5, 0.5]}`:                   "image_mean is [0.5, 0.5]: want three numbers",
		`{"image_processor_type": "CLIPImageProcessor", "image_std": [1, 0, 1]}`:                     "std 0",
		`{"pretrained_cfg": {"input_size": [1, 224, 224]}}`:                                          "input_size [1 224 224]",
		`{"pretrained_cfg": {"input_size": [3, 0, 224]}}`:                                            "input_size",
		`{"pretrained_cfg": {"interpolation": "random"}}`:                                            `interpolation "random"`,
		`{"pretrained_cfg": {"crop_pct": 0}}`:                                                        "crop_pct is 0",
		`{"pretrained_cfg": {"crop_pct": -1}}`:                                                       "crop_pct is -1",
		`{"pretrained_cfg": {"crop_pct": 1e-9}}`:                                                     "crop_pct is 1e-09",
		`{"pretrained_cfg": {"crop_pct": 1e9}}`:                                                      "crop_pct is 1e+09",
		`{"pretrained_cfg": {"crop_mode": "border"}}`:                                                `crop_mode "border"`,
		`{"pretrained_cfg": {"input_size": [3, 224, 448]}}`:                                          `"center" of a square`,
		`{"pretrained_cfg": {"mean": "dark"}}`:                                                       "mean is",
		`{"pretrained_cfg": 3}`:                                                                      "pretrained_cfg",
		`{"image_processor_type": "CLIPImageProcessor"` + strings.Repeat(" ", maxPreprocessor) + `}`: "more than the limit",
	} {
		if got, err := ReadPreprocessor([]byte(file)); err == nil || got != (Transform{}) || !strings.HasPrefix(err.Error(), "dataloader: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.120s: %v, want %q", file, err, want)
		}
	}
}

func FuzzReadPreprocessor(f *testing.F) {
	for _, name := range []string{"clip", "dinov2"} {
		f.Add(readFile(f, "preprocess/preprocessor_config."+name+".json"))
	}
	f.Add([]byte(`{"image_processor_type": "ViTImageProcessorFast", "size": {"height": 9, "width": 7}, "resample": 2, "image_mean": 0.5, "do_rescale": null}`))
	f.Add([]byte(`{"pretrained_cfg": {"input_size": [3, 224, 200], "interpolation": "bilinear", "crop_pct": 0.9, "crop_mode": "squash", "mean": [0, 0, 0], "std": [1, 1, 1]}}`))
	f.Add([]byte(`{"input_size": [3, 24, 24], "crop_pct": 3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := ReadPreprocessor(data)
		if err != nil {
			if tr != (Transform{}) {
				t.Fatalf("%+v with an error", tr)
			}
			return
		}
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
		if tr.Len() > 3*64*64 || max(tr.Geometry.Side, tr.Geometry.Height, tr.Geometry.Width) > 256 {
			return
		}
		tr.Apply(make([]float32, tr.Len()), &Image{Width: 3, Height: 5, Pix: make([]byte, 45)}, nil)
	})
}

func ExampleReadPreprocessor() {
	data, err := os.ReadFile(filepath.Join("testdata", "preprocess", "preprocessor_config.clip.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := ReadPreprocessor(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Geometry.Resize, t.Geometry.Side, t.Geometry.Filter)
	fmt.Println(t.Size, t.Normalize.Mean)
	// Output:
	// shortest 224 bicubic
	// 224 [0.48145466 0.4578275 0.40821073]
}
