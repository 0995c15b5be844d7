package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"relsim/dataloader"
	"relsim/nn"
	"relsim/tokenizer"
)

// maxTokenizer bounds a file of a tokenizer. [tokenizer.Open] has bounds of its own for each.
const maxTokenizer = 64 << 20

// tokenizerFiles are what a tokenizer may be made of.
var tokenizerFiles = []string{
	"tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
}

// readInputs reads how captions and pictures become inputs.
func (m *Model) readInputs(f folder, config []byte) error {
	if m.Config.Has(nn.TextTower) {
		if err := m.readTokenizer(f); err != nil {
			return err
		}
	}
	if m.Config.Has(nn.VisionTower) {
		return m.readTransform(f, config)
	}
	return nil
}

// readTokenizer reads the tokenizer of a folder. Without any file of one there is none.
func (m *Model) readTokenizer(f folder) error {
	files := make(map[string][]byte)
	for _, name := range tokenizerFiles {
		data, err := f.read(name, maxTokenizer)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !f.has(name):
		case err != nil:
			return err
		default:
			files[name] = data
		}
	}
	if len(files) == 0 {
		return nil
	}
	t, err := tokenizer.Open(files)
	if err != nil {
		return err
	}
	if t.Size() > m.Vocab {
		return fmt.Errorf("the tokenizer has %d ids, the table of words %d rows", t.Size(), m.Vocab)
	}
	m.Tokenizer = t
	return nil
}

// defaultProcessors are the preprocessor_config.json of families, where a folder has none: that of their first published
// models, for pictures of another size. Of timm's models it is in config.json, or they differ too much to guess.
var defaultProcessors = map[string]func(side int) map[string]any{
	CLIP: func(side int) map[string]any {
		return map[string]any{"image_processor_type": "CLIPImageProcessor", "size": side, "crop_size": side}
	},
	DINOv2: func(side int) map[string]any {
		return map[string]any{
			"image_processor_type": "BitImageProcessor", "size": map[string]int{"shortest_edge": (side*256 + 112) / 224}, "crop_size": side,
			"image_mean": []float64{0.485, 0.456, 0.406}, "image_std": []float64{0.229, 0.224, 0.225},
		}
	},
}

// readTransform reads how pictures are prepared.
func (m *Model) readTransform(f folder, config []byte) error {
	const name = "preprocessor_config.json"
	data, err := f.read(name, maxConfig)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist) || f.has(name):
		return err
	case m.Family == ViT:
		var c struct {
			Pretrained json.RawMessage `json:"pretrained_cfg"`
			InputSize  json.RawMessage `json:"input_size"`
		}
		if err := decode(config, &c); err != nil {
			return err
		}
		if data = config; c.Pretrained == nil && c.InputSize == nil {
			return nil
		}
	default:
		if data, err = json.Marshal(defaultProcessors[m.Family](m.Config.Vision.ImageSize)); err != nil {
			return err
		}
	}
	if m.Transform, err = dataloader.ReadPreprocessor(data); err != nil {
		return err
	}
	if t := m.Transform; t.Width != 0 && t.Width != t.Size {
		return fmt.Errorf("%s: pictures of %d×%d pixels: want a square", name, t.Width, t.Size)
	}
	return nil
}
