package inspection

// Finding is something that a data set may be refused for.
type Finding struct {
	Name  string
	What  string // what is counted
	Count int
}

// Findings are what [Report] has of each kind that a check can ask for.
func (r *Report) Findings() []Finding {
	var broken, flat, pictures, captions int
	if p := r.Pictures; p != nil {
		broken, flat = p.Broken, p.Flat
	}
	for i := range r.Leaks {
		l := &r.Leaks[i]
		pictures += l.Pictures()
		captions += max(l.Caption.B, l.Captions.B)
	}
	return []Finding{
		{"broken", "pictures that are broken or missing", broken},
		{"flat", "pictures of one colour", flat},
		{"duplicates", "groups of rows or pictures that are the same", r.Duplicates.ID.Groups + r.Duplicates.URL.Groups + r.Duplicates.Bytes.Groups + r.Duplicates.Look.Groups},
		{"near-captions", "groups of captions that say nearly the same", r.Duplicates.Captions.Groups},
		{"leaks", "rows whose picture is in another part", pictures},
		{"caption-leaks", "rows whose caption is in another part", captions},
		{"uncaptioned", "rows without a caption", r.Rows.WithoutCaption},
		{"quotes", "rows whose captions stood in quotes", r.Rows.Quoted},
		{"braces", "captions with malformed braces", r.Captions.Placeholders.Faulty},
		{"not-anonymous", "captions that are not anonymous enough", r.Captions.Anonymous.Captions},
	}
}

// FindingNames are the names of [Report.Findings].
func FindingNames() []string {
	var names []string
	for _, f := range new(Report).Findings() {
		names = append(names, f.Name)
	}
	return names
}
