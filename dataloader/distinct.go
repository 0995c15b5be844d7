package dataloader

// Distinct returns the items of ds without repeated IDs, the first of each; ds
// itself if there are none. Rows may give a picture several captions, and a
// gallery must not hold a picture twice.
func Distinct(ds Dataset) Dataset {
	seen := make(map[string]bool, ds.Len())
	var indices []int
	for i := range ds.Len() {
		if id := ds.Item(i).ID; !seen[id] {
			seen[id] = true
			indices = append(indices, i)
		}
	}
	if len(indices) == ds.Len() {
		return ds
	}
	return Subset(ds, ds.Name(), indices)
}
