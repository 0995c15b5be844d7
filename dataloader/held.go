package dataloader

// held are pictures as a network takes them: values, or pixels and the tables that make values of them.
type held struct {
	values []float32 // (n, 3, Size, Size)
	pixels []byte    // (n, 3, Size, Size)
	tables []float32 // (n, 3, 256)
}

// newHeld returns memory for n pictures of a loader.
func (c *Config) newHeld(n int) held {
	if c.Pixels {
		return held{pixels: make([]byte, n*c.Transform.Len()), tables: make([]float32, n*tableLen)}
	}
	return held{values: make([]float32, n*c.Transform.Len())}
}

// pictureBytes is the memory of a picture.
func (c *Config) pictureBytes() int {
	if c.Pixels {
		return c.Transform.Len() + 4*tableLen
	}
	return 4 * c.Transform.Len()
}

// part returns n pictures, from number first on.
func (c *Config) part(h held, first, n int) held {
	return held{
		values: cut(h.values, first, n, c.Transform.Len()),
		pixels: cut(h.pixels, first, n, c.Transform.Len()),
		tables: cut(h.tables, first, n, tableLen),
	}
}

// cut returns n parts of size, from number first on; nil of nil.
func cut[T any](s []T, first, n, size int) []T {
	if s == nil {
		return nil
	}
	return s[first*size : (first+n)*size : (first+n)*size]
}

// copy copies as many pictures from another.
func (h held) copy(from held) {
	copy(h.values, from.values)
	copy(h.pixels, from.pixels)
	copy(h.tables, from.tables)
}

// show makes the pictures those of a batch.
func (b *Batch) show(h held) { b.Images, b.Pixels, b.Tables = h.values, h.pixels, h.tables }

// shown are the pictures of a batch.
func (b *Batch) shown() held { return held{b.Images, b.Pixels, b.Tables} }
