package training

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"

	"relsim/kernel"
	"relsim/nn"
	"relsim/tokenizer"
)

// makeModel makes the vocabulary and the model of a run, with the weights of published models and of other runs in the
// towers that are to take them.
func (t *trainer) makeModel() error {
	var captions []string
	for i := range t.data.Train.Len() {
		captions = append(captions, t.config.allCaptions(t.data.Train.Item(i))...)
	}
	var donors []donor
	for _, from := range []struct {
		tower nn.Tower
		path  string
	}{{nn.VisionTower, t.options.VisionFrom}, {nn.TextTower, t.options.TextFrom}} {
		if from.path == "" {
			continue
		}
		if base := t.options.Bases.of(from.tower); base != nil {
			return fmt.Errorf("training: the %s tower is to begin with %s and with %s: want one of them", from.tower, base.Name, from.path)
		}
		e, err := Open(from.path, 1)
		if err != nil {
			return err
		}
		e.Close() // the weights stay
		donors = append(donors, donor{from.tower, from.path, e})
	}
	t.words = vocabulary{}
	for _, d := range donors {
		if err := d.fits(t.config); err != nil {
			return err
		}
		if d.tower == nn.TextTower { // its word vectors are of these words
			t.words = d.from.words
			if err := t.checkWords(captions); err != nil {
				return fmt.Errorf("training: the text tower of %s: %w", d.path, err)
			}
		}
	}
	var err error
	if base := t.options.Bases.Text; base != nil {
		if t.words, err = base.vocabulary(); err != nil {
			return err
		}
	}
	if t.words.Tokenizer == nil {
		if t.words, err = newWords(tokenizer.TrainWords(captions, 1)); err != nil {
			return err
		}
	}
	if t.words.rows == 0 {
		return fmt.Errorf("training: the captions of %s hold no words", t.data.Train.Name())
	}
	if t.model, err = nn.Declare(t.config.Model, t.words.rows); err != nil {
		return err
	}
	t.config.freeze(t.model, t.options.Bases)
	if err := t.model.Params.Allocate(); err != nil {
		return err
	}
	if t.given, t.bases, err = t.options.Bases.load(t.model); err != nil {
		return err
	}
	t.model.Params.Draw(rand.New(rand.NewPCG(t.config.Seed, streamInit)), func(p *nn.Param) bool { return !t.given[p.Name] })
	t.config.VisionInit, t.config.TextInit = t.bases[nn.VisionTower].Weights, t.bases[nn.TextTower].Weights
	for _, d := range donors {
		d.give(t.model)
		sum := t.model.Fingerprint(d.tower)
		print := hex.EncodeToString(sum[:16])
		if d.tower == nn.TextTower {
			t.config.TextInit = print
		} else {
			t.config.VisionInit = print
		}
	}
	return nil
}

// checkWords returns an error if none of the captions holds a word that a text tower knows, and tells of captions that
// hold none.
func (t *trainer) checkWords(captions []string) error {
	strange := 0
	for _, caption := range captions {
		if !t.words.knows(caption) {
			strange++
		}
	}
	if strange == len(captions) {
		return fmt.Errorf("its vocabulary of %d words has no word of the captions of %s", t.words.Size(), t.data.Train.Name())
	}
	if strange > 0 {
		t.notice("%d of %d captions hold no word that the text tower knows", strange, len(captions))
	}
	return nil
}

// donor is a trained model that gives the weights of a tower.
type donor struct {
	tower nn.Tower
	path  string
	from  *Embedder
}

// fits returns an error that names the first setting in which the tower differs from the one asked for. How it was
// initialised and dropped out does not matter.
func (d donor) fits(c Config) error {
	mine, theirs := c, d.from.config
	theirs.Model.Vision.Init, theirs.Model.Vision.Dropout = mine.Model.Vision.Init, mine.Model.Vision.Dropout
	theirs.Model.Text.Init, theirs.Model.Text.Dropout = mine.Model.Text.Init, mine.Model.Text.Dropout
	type pair struct {
		path string
		a, b any
	}
	pairs := []pair{{"embed_dim", mine.Model.EmbedDim, theirs.Model.EmbedDim}}
	if d.tower == nn.TextTower {
		pairs = append(pairs, pair{"text", mine.Model.Text, theirs.Model.Text})
	} else {
		pairs = append(pairs, pair{"vision", mine.Model.Vision, theirs.Model.Vision}, pair{"normalize", mine.Normalize, theirs.Normalize},
			pair{"geometry", mine.Geometry, theirs.Geometry})
	}
	for _, p := range pairs {
		if field, a, b, differs := diffValue(p.path, reflect.ValueOf(p.a), reflect.ValueOf(p.b)); differs {
			return fmt.Errorf("training: the %s tower of %s does not fit: %s is %v there, %v here", d.tower, d.path, field, b, a)
		}
	}
	return nil
}

// give copies the weights of the tower to a model that it fits.
func (d donor) give(m *nn.Model) {
	for _, p := range m.Params.All() {
		if d.tower.Has(p.Name) {
			copy(p.Data, d.from.model.Params.Lookup(p.Name).Data)
		}
	}
}

// frozenText holds the embeddings of the captions of a run whose text tower is frozen, one row for each distinct one.
type frozenText struct {
	width    int
	vectors  [][]float32 // by the number that the encoder gives a caption
	computed int         // rows that the tower was run for
}

// rows writes the embeddings of captions, given by their numbers, to dst.
func (f *frozenText) rows(dst []float32, captions []int) {
	for i, n := range captions {
		copy(dst[i*f.width:(i+1)*f.width], f.vectors[n])
	}
}

// embedChunk is the number of captions that are embedded between two looks at the context: a few batches of each length.
const embedChunk = 16 * embedBatch

// embedCaptions runs a frozen text tower, once for each distinct caption that no earlier run has left in the cache. The
// weights are those of the run by now.
func (t *trainer) embedCaptions(ctx context.Context) error {
	if t.config.Freeze != nn.TextTower {
		return nil
	}
	var distinct []string
	for i := range t.data.Train.Len() {
		for _, caption := range t.config.allCaptions(t.data.Train.Item(i)) {
			if _, n := t.encoder.caption(caption); n == len(distinct) {
				distinct = append(distinct, caption)
			}
		}
	}
	t.frozen = frozenText{width: t.config.Model.EmbedDim, vectors: make([][]float32, len(distinct))}
	cache, err := t.openRows()
	if err != nil {
		return err
	}
	var missing []int
	for i, caption := range distinct {
		if cache != nil {
			t.frozen.vectors[i] = cache.get(caption)
		}
		if t.frozen.vectors[i] == nil {
			missing = append(missing, i)
		}
	}
	for part := range slices.Chunk(missing, embedChunk) {
		if err := ctx.Err(); err != nil {
			return t.stop(ctx, err)
		}
		captions := make([]string, len(part))
		for j, i := range part {
			captions[j] = distinct[i]
		}
		vectors, err := t.embedder.Captions(captions)
		if err != nil {
			return err
		}
		for j, i := range part {
			row := vectors[j*t.frozen.width : (j+1)*t.frozen.width : (j+1)*t.frozen.width]
			if !kernel.AllFinite(row) {
				return fmt.Errorf("training: the frozen text tower gives caption %q an embedding that is not finite", distinct[i])
			}
			t.frozen.vectors[i] = row
			if cache != nil {
				cache.put(distinct[i], row)
			}
		}
		t.frozen.computed += len(part)
	}
	t.notice("text tower frozen: %d distinct captions, %d of them from the cache", len(distinct), len(distinct)-len(missing))
	if cache != nil && len(missing) > 0 {
		if err := cache.save(); err != nil {
			t.notice("%v; going on without it", err)
		}
	}
	return nil
}

// openRows opens the cache for the text tower as it is, nil if there is to be none. What makes the bits of a row is in
// the key: weights, vocabulary, and kernels.
func (t *trainer) openRows() (*rowCache, error) {
	if t.options.RowCache == "" {
		return nil, nil
	}
	tower := t.model.Fingerprint(nn.TextTower)
	h := sha256.New()
	h.Write(tower[:])
	for _, name := range slices.Sorted(maps.Keys(t.words.files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(t.words.files[name]))
		h.Write(t.words.files[name])
	}
	if gpu := t.options.GPU; gpu != nil {
		fmt.Fprintf(h, "\n%s in %v", gpu.Name(), gpu.Precision())
	} else {
		fmt.Fprintf(h, "\n%v", kernel.Active())
	}
	cache, err := openRows(t.options.RowCache, rowKey(h.Sum(nil)), t.config.Model.EmbedDim)
	if err != nil {
		t.notice("%v; it is made anew", err)
	}
	return cache, nil
}

func (t *trainer) notice(format string, args ...any) {
	if t.watch.Notice != nil {
		t.watch.Notice(format, args...)
	}
}
