package pretrained

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"relsim/checkpoints"
	"relsim/nn"
)

// headFile holds a head that is not the published one: projection.weight (E, D) and,
// where it has one, projection.bias (E).
const headFile = "head.safetensors"

// Trained is one tower of a trained model, to be written by [Export].
type Trained struct {
	// Model has the weights, adapters beside the weights of their layers.
	Model *nn.Model
	Tower nn.Tower
	// Base is the published model that the tower began as; nil: none.
	Base *Model
	// Name names it in the files: openai/clip-vit-large-patch14.
	Name string
	// Merge adds adapters to the weights, and writes these.
	Merge bool
	// Card becomes README.md; nil: none.
	Card []byte
}

// Export writes a tower into dir, which is made, as a folder that PEFT, transformers or
// timm reads:
//
//	adapter_config.json         with adapters: see [WriteAdapter]; of the published
//	adapter_model.safetensors   model nothing else
//	config.json                 without: the configuration and all weights of the tower, by
//	model.safetensors           their published names, as float32
//	head.safetensors            projection.weight (E, D) and projection.bias (E), if the head
//	                            is not the published one
//	README.md                   the card
//
// and the files of the published model that make its inputs: preprocessor_config.json
// where the image size is still the published one, and those of the tokenizer. A tower
// without a published model is written as timm writes a vision transformer, if it is
// one.
//
// Dir must not be there. It is made beside its place and renamed when it is whole.
func Export(dir string, t Trained) error {
	if err := export(dir, t); err != nil {
		return fmt.Errorf("pretrained: export %s: %w", dir, err)
	}
	return nil
}

func export(dir string, t Trained) (err error) {
	if !t.Model.Config.Has(t.Tower) {
		return fmt.Errorf("the model has no %s tower", t.Tower)
	}
	if t.Model.Merged() {
		return errors.New("the adapters are merged: restore them first")
	}
	if _, err := os.Lstat(dir); err == nil {
		return fs.ErrExist
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	beside, err := os.MkdirTemp(parent, ".export-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(beside))
		}
	}()
	if err := t.write(beside); err != nil {
		return err
	}
	if err := os.Chmod(beside, 0o755); err != nil {
		return err
	}
	return os.Rename(beside, dir)
}

// hasAdapters says that there are adapters in the tower.
func (t Trained) hasAdapters() bool {
	return slices.ContainsFunc(t.Model.Adapters(), func(a *nn.Adapter) bool { return t.Tower.Has(a.Module.Name) })
}

// Adapters reports whether adapters are written, and no weights of the published model.
func (t Trained) Adapters() bool { return t.hasAdapters() && !t.Merge }

// Class is the class of transformers that PEFT puts the adapters on, as far as it is
// known.
func (t Trained) Class() string {
	if t.Base == nil {
		return ""
	}
	return t.Base.partOf(t.Tower).class
}

func (t Trained) write(dir string) error {
	switch {
	case t.Adapters():
		if t.Base == nil {
			return errors.New("adapters without a published model: merge them")
		}
		if err := writeAdapter(dir, t.Base, t.Tower, t.Model, t.Name); err != nil {
			return err
		}
	default:
		if t.hasAdapters() {
			defer t.Model.Merge(nil)()
		}
		if err := t.writeTower(dir); err != nil {
			return err
		}
	}
	if err := t.writeHead(dir); err != nil {
		return err
	}
	if t.Base != nil {
		if err := t.copyInputs(dir); err != nil {
			return err
		}
	}
	if t.Card != nil {
		return writeText(filepath.Join(dir, "README.md"), t.Card)
	}
	return nil
}

// writeTower writes config.json and model.safetensors.
func (t Trained) writeTower(dir string) error {
	m := t.Base
	if m == nil {
		var err error
		if m, err = asViT(t.Model, t.Tower); err != nil {
			return err
		}
	}
	config, err := t.config(m)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	var tensors []checkpoints.Tensor
	newHead := m.headIsNew(t.Model.Params, t.Tower)
	for _, n := range m.names {
		n = home(n, t.Model.Params)
		if n.Tower != t.Tower || isHead(n.Param) && newHead {
			continue
		}
		tensor, err := published(n, t.Model.Params)
		if err != nil {
			return err
		}
		tensors = append(tensors, tensor)
	}
	if err := writeText(filepath.Join(dir, "config.json"), append(text, '\n')); err != nil {
		return err
	}
	return checkpoints.Write(filepath.Join(dir, weightsFile), tensors, map[string]string{"format": "pt"})
}

// published returns a tensor of the published model from the parameter that holds it.
// Tables of words and positions may have other numbers of rows than they had.
func published(n Name, p *nn.Params) (checkpoints.Tensor, error) {
	param := p.Lookup(n.Param)
	if param == nil {
		return checkpoints.Tensor{}, fmt.Errorf("there is no parameter %s for %s: the model is not that of the base", n.Param, n.Published)
	}
	shape, data := slices.Clone(n.Shape), param.Data
	if n.High > 0 {
		row := param.Size() / param.Shape[0]
		if n.High > param.Shape[0] {
			return checkpoints.Tensor{}, mismatch(n, param)
		}
		data = data[n.Low*row : n.High*row]
	}
	if param.Kind == nn.Position || param.Kind == nn.WordVectors {
		width := shape[len(shape)-1]
		shape[len(shape)-2] = len(data) / width
	}
	if size(shape) != len(data) {
		return checkpoints.Tensor{}, mismatch(n, param)
	}
	return checkpoints.FromFloat32(n.Published, shape, data), nil
}

// config is config.json of the tower: that of the published model, for the tower alone,
// with the sizes that the tower has now.
func (t Trained) config(m *Model) (map[string]any, error) {
	if t.Base == nil {
		return vitConfig(t.Model.Config.Vision), nil
	}
	f, err := openFolder(m.Dir)
	if err != nil {
		return nil, err
	}
	if _, f, err = openSentence(f); err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := f.json("config.json", maxConfig, &config); err != nil {
		return nil, err
	}
	if m.Family == CLIP {
		if config, err = t.clipConfig(config); err != nil {
			return nil, err
		}
	}
	if class := map[string]string{DINOv2: "Dinov2Model", BERT: "BertModel"}[m.Family]; class != "" {
		config["architectures"] = []string{class}
	}
	if m.Family == ViT {
		args, _ := config["model_args"].(map[string]any)
		args = maps.Clone(args)
		if args == nil {
			args = map[string]any{}
		}
		args["img_size"] = t.Model.Config.Vision.ImageSize
		config["model_args"], config["num_classes"] = args, 0
		return config, nil
	}
	delete(config, "_name_or_path")
	config["torch_dtype"] = "float32"
	if t.Tower == nn.VisionTower {
		config["image_size"] = t.Model.Config.Vision.ImageSize
	} else {
		config["vocab_size"] = t.Model.Words.Words.Shape[0]
		config["max_position_embeddings"] = t.Model.Config.Text.Length
	}
	return config, nil
}

// clipConfig is the configuration of one tower of CLIP, which transformers knows as a
// model of its own.
func (t Trained) clipConfig(both map[string]any) (map[string]any, error) {
	class := map[nn.Tower]string{nn.VisionTower: "CLIPVisionModel", nn.TextTower: "CLIPTextModel"}[t.Tower]
	if !t.Base.headIsNew(t.Model.Params, t.Tower) || t.Model.Config.Vision.Projection > 0 && t.Tower == nn.VisionTower {
		class += "WithProjection"
	}
	config := both
	if both["model_type"] == "clip" {
		config = map[string]any{}
		for _, key := range []string{string(t.Tower) + "_config", string(t.Tower) + "_config_dict"} {
			switch part := both[key].(type) {
			case map[string]any:
				maps.Copy(config, part)
			case nil:
			default:
				return nil, fmt.Errorf("config.json: %s: want an object", key)
			}
		}
		config["projection_dim"] = t.Base.published.EmbedDim
	}
	config["model_type"] = "clip_" + string(t.Tower) + "_model"
	config["architectures"] = []string{class}
	return config, nil
}

// NewHead reports whether the head is written by itself: it is not the published one, or
// was trained where the weights of the published model are not written.
func (t Trained) NewHead() bool {
	if !t.Model.Config.Has(t.Tower) || headOf(t.Model, t.Tower) == nil {
		return false
	}
	if t.Base == nil || t.Base.headIsNew(t.Model.Params, t.Tower) {
		return true
	}
	return t.Adapters() && !headOf(t.Model, t.Tower).Weight.Frozen
}

// writeHead writes the head, where it is new.
func (t Trained) writeHead(dir string) error {
	if !t.NewHead() {
		return nil
	}
	head := headOf(t.Model, t.Tower)
	tensors := []checkpoints.Tensor{checkpoints.FromFloat32("projection.weight", head.Weight.Shape, head.Weight.Data)}
	if head.Bias != nil {
		tensors = append(tensors, checkpoints.FromFloat32("projection.bias", head.Bias.Shape, head.Bias.Data))
	}
	return checkpoints.Write(filepath.Join(dir, headFile), tensors, map[string]string{"format": "pt"})
}

func headOf(n *nn.Model, tower nn.Tower) *nn.Linear {
	if tower == nn.VisionTower {
		return n.Images.Head
	}
	return n.Words.Head
}

// ReadHead fills the head of a tower from a folder that [Export] wrote.
func ReadHead(dir string, n *nn.Model, tower nn.Tower) error {
	fail := func(err error) error { return fmt.Errorf("pretrained: head of %s: %w", dir, err) }
	f, err := openFolder(dir)
	if err != nil {
		return fail(err)
	}
	path, err := f.path(headFile)
	if err != nil {
		return fail(err)
	}
	file, err := checkpoints.Open(path)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	if !n.Config.Has(tower) || headOf(n, tower) == nil {
		return fail(fmt.Errorf("the model has no head in its %s tower", tower))
	}
	head := headOf(n, tower)
	targets := []checkpoints.Target{{Name: "projection.weight", Shape: head.Weight.Shape, Data: head.Weight.Data}}
	if head.Bias != nil {
		targets = append(targets, checkpoints.Target{Name: "projection.bias", Shape: head.Bias.Shape, Data: head.Bias.Data})
	}
	if err := checkpoints.Assign(targets, file); err != nil {
		return fail(err)
	}
	return nil
}

// Files of a published model that make the inputs of a tower.
var (
	pictureFiles = []string{"preprocessor_config.json"}
	captionFiles = []string{
		"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
		"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
	}
)

const poolingFolder = "1_Pooling"

// copyInputs copies the files that make the inputs of the tower.
func (t Trained) copyInputs(dir string) error {
	f, err := openFolder(t.Base.Dir)
	if err != nil {
		return err
	}
	names := captionFiles
	if t.Tower == nn.VisionTower {
		if names = pictureFiles; t.Model.Config.Vision.ImageSize != t.Base.Transform.Size {
			return nil
		}
	}
	for _, name := range names {
		if err := copyFile(f, name, dir); err != nil {
			return err
		}
	}
	if t.Tower == nn.TextTower && f.has(poolingFolder) {
		pooling, err := f.sub(poolingFolder)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, poolingFolder)
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		return copyFile(pooling, "config.json", to)
	}
	return nil
}

// copyFile copies a file that is there.
func copyFile(f folder, name, dir string) error {
	if !f.has(name) {
		return nil
	}
	data, err := f.read(name, maxIndex)
	if err != nil {
		return err
	}
	return writeText(filepath.Join(dir, name), data)
}

// asViT describes a vision tower that began as no published model, as one of timm.
func asViT(n *nn.Model, tower nn.Tower) (*Model, error) {
	c := n.Config.Vision
	switch {
	case tower != nn.VisionTower:
		return nil, errors.New("a text tower that began as no published model has no published layout")
	case c.Stem != nn.PatchStem || c.NoPatchBias || c.Pool != nn.PoolCLS || c.InputNorm || c.SwiGLU || c.GELU != nn.GELUErf || c.NormEps != 1e-6:
		return nil, errors.New("the image tower is no plain vision transformer, and has no published layout: " +
			"timm's has one convolution over patches, a class token, erf GELUs and norms with epsilon 1e-6")
	}
	m := &Model{Family: ViT, Config: n.Config}
	m.published = m.Config
	m.names = vitNames(m)
	return m, nil
}

// vitArchitectures are names that timm knows, by the width of their tokens. All other
// sizes are arguments.
var vitArchitectures = map[int]string{
	192: "vit_tiny_patch16_224", 384: "vit_small_patch16_224", 768: "vit_base_patch16_224", 1024: "vit_large_patch16_224",
}

// vitConfig is config.json of a vision transformer of timm.
func vitConfig(c nn.VisionConfig) map[string]any {
	args := map[string]any{
		"img_size": c.ImageSize, "patch_size": c.PatchSize, "embed_dim": c.Width, "depth": c.Layers, "num_heads": c.Heads,
		"mlp_ratio": float64(c.MLP) / float64(c.Width),
	}
	if c.LayerScale {
		args["init_values"] = 1.0
	}
	return map[string]any{
		"architecture": cmp.Or(vitArchitectures[c.Width], vitArchitectures[768]), "num_classes": 0, "num_features": c.Width,
		"global_pool": "token", "model_args": args,
	}
}
