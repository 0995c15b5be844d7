package pretrained

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"relsim/checkpoints"
	"relsim/nn"
)

// imageTower is the configuration of the image tower of CLIP, with its projection.
func imageTower(image, patch, width, layers, heads, projection int) map[string]any {
	return map[string]any{
		"model_type": "clip_vision_model", "architectures": []string{"CLIPVisionModelWithProjection"},
		"image_size": image, "patch_size": patch, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
		"intermediate_size": 4 * width, "projection_dim": projection,
	}
}

// writeModel writes a folder with that configuration of CLIP and random weights, of which it holds a
// few in memory, and returns the number of bytes of the weights.
func writeModel(t testing.TB, dir string, config map[string]any, dtype checkpoints.DType) int64 {
	t.Helper()
	writeJSON(t, dir, "config.json", config)
	text, err := json.Marshal(config)
	check(t, err)
	m := &Model{files: &files{}}
	check(t, parseCLIP(m, folder{}, text))
	header := map[string]any{}
	at := 0
	for _, n := range clipNames(m) {
		bytes := size(n.Shape) * dtype.Size()
		header[n.Published] = map[string]any{"dtype": dtype, "shape": n.Shape, "data_offsets": []int{at, at + bytes}}
		at += bytes
	}
	encoded, err := json.Marshal(header)
	check(t, err)
	for len(encoded)%8 != 0 {
		encoded = append(encoded, ' ')
	}
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 1<<20)
	for i := 0; i < len(random); i += 2 {
		// The high half of a float32, and a number as float16 and bfloat16.
		binary.LittleEndian.PutUint16(random[i:], 0x3c00|uint16(rng.IntN(0x100))|uint16(rng.IntN(2))<<15)
	}
	file, err := os.Create(filepath.Join(dir, weightsFile))
	check(t, err)
	defer file.Close()
	w := bufio.NewWriter(file)
	check(t, binary.Write(w, binary.LittleEndian, uint64(len(encoded))))
	_, err = w.Write(encoded)
	check(t, err)
	for left := at; left > 0; {
		n := min(left, len(random))
		_, err := w.Write(random[:n])
		check(t, err)
		left -= n
	}
	check(t, w.Flush())
	check(t, file.Sync())
	return int64(at)
}

// Loading takes no memory but that of the parameters, and small pieces.
func TestWeightsTakeNoMemory(t *testing.T) {
	for _, dtype := range []checkpoints.DType{checkpoints.F32, checkpoints.F16, checkpoints.BF16} {
		t.Run(string(dtype), func(t *testing.T) {
			dir := t.TempDir()
			writeModel(t, dir, imageTower(224, 16, 384, 6, 6, 384), dtype) // 11 M numbers
			m, err := Open(dir)
			check(t, err)
			n, err := nn.Declare(m.Config, 0)
			check(t, err)
			check(t, n.Params.Allocate())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			check(t, m.Weights(n.Params, nn.VisionTower))
			runtime.ReadMemStats(&after)
			size := uint64(4 * len(n.Params.Data()))
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 20<<20 || taken > size/2 {
				t.Errorf("%d bytes were allocated for %d bytes of weights", taken, size)
			}
			if x := n.Images.Blocks[5].MLP.FC2.Weight.Data; x[0] == 0 || x[len(x)-1] == 0 {
				t.Error("the last layer was not read")
			}
		})
	}
}
