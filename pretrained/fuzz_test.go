package pretrained

import (
	"os"
	"path/filepath"
	"testing"

	"relsim/nn"
)

// FuzzConfig gives any text for config.json to the folders of the fixtures. What is accepted is a
// model that can be declared, whose tensors are those of the file.
func FuzzConfig(f *testing.F) {
	var dirs []folder
	headers := map[string]*files{} // of folder and family
	for _, name := range []string{"clip", "dinov2_swiglu", "minilm"} {
		dir, err := openFolder(filepath.Join("testdata", name))
		check(f, err)
		dirs = append(dirs, dir)
		for _, kind := range families {
			headers[dir.dir+kind.name], err = openFiles(dir, kind)
			check(f, err)
		}
		data, err := dir.read("config.json", maxConfig)
		check(f, err)
		f.Add(data)
	}
	for _, seed := range []string{
		`{"model_type": "clip"}`, `{"model_type": "clip_vision_model", "hidden_size": 48}`, `{"model_type": "clip_text_model", "vocab_size": -1}`,
		`{"model_type": "clip", "vision_config": null, "text_config": {"max_position_embeddings": 1e3}}`, `{"model_type": "bert", "hidden_size": 1e9}`,
		`{"model_type": "dinov2", "mlp_ratio": 1e-300, "use_swiglu_ffn": true}`, `{"architecture": "vit_base_patch16_224", "model_args": {"num_heads": -3}}`,
		`{"model_type": "dinov2", "patch_size": 9223372036854775807}`, `{"model_type": 3}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		for _, dir := range dirs {
			kind, err := familyOf(config)
			if err != nil {
				return
			}
			m := &Model{Family: kind.name, files: headers[dir.dir+kind.name]}
			if kind.parse(m, dir, config) != nil || m.Config.Validate() != nil {
				continue
			}
			if m.files.compare(kind.name, kind.names(m)) != nil {
				continue
			}
			n, err := nn.Declare(m.Config, m.Vocab)
			if err != nil {
				t.Fatalf("%s: %v", config, err)
			}
			for _, name := range kind.names(m) {
				if n.Params.Lookup(name.Param) == nil {
					t.Fatalf("%s: no parameter %s", config, name.Param)
				}
			}
		}
	})
}

// FuzzFolder gives any text for the index of shards and for what sentence-transformers adds.
func FuzzFolder(f *testing.F) {
	dir := copyFolder(f, "testdata/minilm")
	modules, err := os.ReadFile(filepath.Join(dir, "modules.json"))
	check(f, err)
	pooling, err := os.ReadFile(filepath.Join(dir, "1_Pooling", "config.json"))
	check(f, err)
	shards(f, dir)
	index, err := os.ReadFile(filepath.Join(dir, indexFile))
	check(f, err)
	f.Add(index, modules, pooling, []byte(`{"max_seq_length": 256}`))
	f.Add([]byte(`{"weight_map": {"a": "../a.safetensors", "b": "/b.safetensors"}}`), []byte(`[]`), []byte(`{}`), []byte(`{}`))
	f.Add([]byte(`{"weight_map": {"a": "model-00001-of-00002.safetensors"}}`), []byte(`[{"type": "Transformer", "path": ".."}]`), []byte(`{"pooling_mode_cls_token": 1}`), []byte(`[`))
	f.Add([]byte(`{"weight_map": null}`), []byte(`[{"type": "x.Pooling"}]`), []byte(``), []byte(`{"max_seq_length": -1}`))
	f.Fuzz(func(t *testing.T, index, modules, pooling, length []byte) {
		for name, data := range map[string][]byte{indexFile: index, "modules.json": modules, "1_Pooling/config.json": pooling, "sentence_bert_config.json": length} {
			check(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
		}
		m, err := Open(dir)
		if err != nil {
			return
		}
		if m.Family != BERT || m.Config.Text.Length < 1 || m.Config.Text.Length > 512 {
			t.Errorf("a model of family %s and length %d", m.Family, m.Config.Text.Length)
		}
		for _, path := range m.files.paths {
			if filepath.Dir(path) != m.files.paths[0][:len(filepath.Dir(path))] {
				t.Errorf("weights of %s", path)
			}
		}
	})
}
