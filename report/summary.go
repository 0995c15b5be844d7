package report

import (
	"fmt"
	"html/template"
	"strings"

	"relsim/metrics"
	"relsim/retrieval"
	"relsim/training"
)

// A tile is one figure of the page's head.
type tile struct {
	Value, Reach, What string
	Kind               string // css class
}

// A summary is what the page says in words. Every sentence follows from the
// numbers; none claims a difference that the intervals do not show.
type summary struct {
	Tiles      []tile
	Paragraphs []template.HTML
}

const r1 = "recall@1"

// summarise reads the result for the first trained method, or for the first
// method where none is trained.
func summarise(r *retrieval.Result) summary {
	var s summary
	ours := mainMethod(r.Methods)
	if ours == nil {
		return s
	}
	v, ok := ours.ImageToImage[r1]
	if !ok {
		s.captionsOnly(r, ours)
		return s
	}
	var open []template.HTML // the paragraph being written
	end := func() {
		if len(open) > 0 {
			p := make([]string, len(open))
			for i, o := range open {
				p[i] = string(o)
			}
			s.Paragraphs, open = append(s.Paragraphs, template.HTML(strings.Join(p, " "))), nil
		}
	}
	say := func(format string, args ...any) {
		for i, a := range args {
			switch a := a.(type) {
			case string:
				args[i] = template.HTMLEscapeString(a)
			case template.HTML:
				args[i] = string(a)
			}
		}
		open = append(open, template.HTML(fmt.Sprintf(format, args...)))
	}
	same := sameWord(r)

	// What ours does.
	s.Tiles = append(s.Tiles, tile{num3(v.Mean), reach(v), ours.Name + ": first picture right (R@1)", ours.Kind})
	say("For %s, the first picture that <b>%s</b> finds has the query’s %s: R@1 = %s.",
		outOf100(v.Mean), ours.Name, same, bracket(v))

	// Against measures of appearance.
	best := bestBaseline(r.Methods)
	chance := byKind(r.Methods, retrieval.ChanceKind)
	if best != nil {
		b := best.ImageToImage[r1]
		s.Tiles = append(s.Tiles, tile{num3(b.Mean), reach(b), best.Name + ": best " + kindOf(best), "baseline"})
		say("The best %s at this, <b>%s</b>, gets %s. %s", kindOf(best), best.Name, bracket(b), template.HTML(verdict(r, ours, best)))
	}
	if chance != nil {
		if c, ok := chance.ImageToImage[r1]; ok {
			s.Tiles = append(s.Tiles, tile{num3(c.Mean), "", "chance", "chance"})
			if v.Low > c.Mean {
				say("Chance is %s.", num3(c.Mean))
			} else {
				say("Chance is %s, and the interval of %s reaches down to it: <b>this evaluation does not show that %[2]s does better than chance.</b>", num3(c.Mean), ours.Name)
			}
		}
	}
	end()
	if twin := byName(r.Methods, literalTwin); twin != nil && twin.Name != ours.Name {
		if t, ok := twin.ImageToImage[r1]; ok {
			say("The same model trained on ordinary captions, which name objects and colours (<b>%s</b>), gets %s. %s",
				twin.Name, bracket(t), template.HTML(verdict(r, ours, twin)))
		}
	}

	// Look-alikes.
	end()
	if t, ok := ours.ImageToImage["twin@1"]; ok {
		if most := mostFooled(r.Methods, ours.Name); most != nil {
			m := most.ImageToImage["twin@1"]
			say("A look-alike, with the same colours, shapes and textures in another relation, comes first for %s of the queries with %s, and for %s with %s.",
				bracket(t), ours.Name, bracket(m), most.Name)
		} else {
			say("A look-alike comes first for %s of the queries.", bracket(t))
		}
	}
	if c, ok := ours.Triplets["conflict"]; ok {
		say("Between a picture with the same relation and a look-alike, %s takes the relation in %s of all cases%s.", ours.Name, bracket(c), atHalf(c))
	}

	// Relations never trained on.
	end()
	if held := byName(r.HeldOut, ours.Name); held != nil {
		if h, ok := held.ImageToImage[r1]; ok {
			s.Tiles = append(s.Tiles, tile{num3(h.Mean), reach(h), "relations never trained on (R@1)", ours.Kind})
			text := fmt.Sprintf("On relations that it never saw in training, %s gets %s", template.HTMLEscapeString(ours.Name), bracket(h))
			if b := bestBaseline(r.HeldOut); b != nil {
				bv := b.ImageToImage[r1]
				text += fmt.Sprintf("; the best %s there, %s, %s", kindOf(b), template.HTMLEscapeString(b.Name), bracket(bv))
				if h.Low <= bv.High {
					text += ". <b>These intervals overlap: no difference is shown</b>"
				}
			}
			open = append(open, template.HTML(text+"."))
		}
	}

	// What is not understood.
	end()
	if near := nearMisses(r, ours.Name); len(near) > 0 {
		var not []string
		for _, n := range near {
			if verdictOf(n) != retrieval.Understood {
				not = append(not, n.Relation)
			}
		}
		if len(not) == 0 {
			say("All %d relations that were tested with near misses are understood.", len(near))
		} else {
			say("Of %d relations tested with near misses, %d %s understood. Not counted as learned: <b>%s</b>.",
				len(near), len(near)-len(not), isAre(len(near)-len(not)), some(not, 12))
		}
	}
	end()
	return s
}

// captionsOnly says what can be said where no picture has another one that matches it: how the captions are found.
func (s *summary) captionsOnly(r *retrieval.Result, ours *retrieval.MethodResult) {
	v, ok := ours.ImageToCaption[r1]
	if !ok {
		return
	}
	s.Tiles = append(s.Tiles, tile{num3(v.Mean), reach(v), ours.Name + ": first caption right (R@1)", ours.Kind})
	text := fmt.Sprintf("No two pictures share a %s, so nothing was measured from image to image. For %s, the first caption that <b>%s</b> finds is the query’s own: R@1 = %s.",
		sameWord(r), outOf100(v.Mean), template.HTMLEscapeString(ours.Name), bracket(v))
	if chance := byKind(r.Methods, retrieval.ChanceKind); chance != nil {
		if c, ok := chance.ImageToCaption[r1]; ok {
			s.Tiles = append(s.Tiles, tile{num3(c.Mean), "", "chance", "chance"})
			text += fmt.Sprintf(" Chance is %s.", num3(c.Mean))
			if v.Low <= c.Mean {
				text += fmt.Sprintf(" The interval reaches down to it: <b>this evaluation does not show that %s does better than chance.</b>",
					template.HTMLEscapeString(ours.Name))
			}
		}
	}
	s.Paragraphs = append(s.Paragraphs, template.HTML(text))
}

// sameWord is what pictures that match have in common.
func sameWord(r *retrieval.Result) string {
	if r.Positives == "caption" {
		return "caption"
	}
	return "relation"
}

// verdict says whether a beats b at recall@1: by the interval of the paired
// difference where there is one, else by whether the two intervals overlap.
func verdict(r *retrieval.Result, a, b *retrieval.MethodResult) string {
	nameA, nameB := template.HTMLEscapeString(a.Name), template.HTMLEscapeString(b.Name)
	for _, d := range r.Differences {
		if d.Method != a.Name || d.Against != b.Name {
			continue
		}
		v, ok := d.ImageToImage[r1]
		if !ok {
			continue
		}
		switch {
		case v.Low > 0:
			return fmt.Sprintf("The difference on the same queries is %s, clear of zero.", bracket(v))
		case v.High < 0:
			return fmt.Sprintf("<b>%s does worse than %s</b>: the difference on the same queries is %s.", nameA, nameB, bracket(v))
		}
		return fmt.Sprintf("<b>No difference is shown</b>: on the same queries it is %s, and zero lies within.", bracket(v))
	}
	va, vb := a.ImageToImage[r1], b.ImageToImage[r1]
	switch {
	case va.Low > vb.High:
		return "The intervals lie apart."
	case vb.Low > va.High:
		return fmt.Sprintf("<b>%s does worse than %s</b>: the intervals lie apart.", nameA, nameB)
	}
	return "<b>The intervals overlap: no difference is shown.</b>"
}

// outOf100 says a share in words.
func outOf100(v float64) string {
	n := int(100*clamp01(v) + .5)
	switch {
	case n == 0 && v > 0:
		return "fewer than 1 query in 100"
	case n == 0:
		return "no query"
	case n == 100 && v < 1:
		return "more than 99 queries in 100"
	case n == 100:
		return "every query"
	case n == 1:
		return "1 query in 100"
	}
	return fmt.Sprintf("%d queries in 100", n)
}

// atHalf adds what one half means to an interval that holds it.
func atHalf(v metrics.Interval) string {
	switch {
	case v.High < .5:
		return ", so it prefers the look-alike"
	case v.Low <= .5:
		return ", which is not told from tossing a coin"
	}
	return ""
}

// some joins names, at most n of them.
func some(names []string, n int) string {
	if len(names) <= n+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more, listed below", strings.Join(names[:n], ", "), len(names)-n)
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// bracket writes an estimate with its interval: .752 [.729, .775].
func bracket(v metrics.Interval) string {
	if r := reach(v); r != "" {
		return num3(v.Mean) + " " + r
	}
	return num3(v.Mean)
}

// reach writes an interval, or nothing if it has no width worth printing.
func reach(v metrics.Interval) string {
	low, high := num3(v.Low), num3(v.High)
	if v.Low >= v.High || low == high {
		return ""
	}
	return "[" + low + ",\u00a0" + high + "]"
}

// mainMethod is the first trained method, or else the first.
func mainMethod(methods []retrieval.MethodResult) *retrieval.MethodResult {
	if m := byKind(methods, retrieval.Trained); m != nil {
		return m
	}
	if len(methods) == 0 {
		return nil
	}
	return &methods[0]
}

func byKind(methods []retrieval.MethodResult, kind string) *retrieval.MethodResult {
	for i := range methods {
		if methods[i].Kind == kind {
			return &methods[i]
		}
	}
	return nil
}

func byName(methods []retrieval.MethodResult, name string) *retrieval.MethodResult {
	for i := range methods {
		if methods[i].Name == name {
			return &methods[i]
		}
	}
	return nil
}

// kindOf is what a baseline is called in a sentence. What goes by captions, or was computed elsewhere, may not be one of
// appearance.
func kindOf(m *retrieval.MethodResult) string {
	if a := m.About; a != nil && (a.Kind == training.CLIPTextBaseline || a.Kind == training.EmbeddingsBaseline) {
		return "baseline"
	}
	return "measure of appearance"
}

// bestBaseline is the baseline of appearance with the highest recall@1; the
// literal twin, which is a trained model, is not one.
func bestBaseline(methods []retrieval.MethodResult) *retrieval.MethodResult {
	var best *retrieval.MethodResult
	for i := range methods {
		m := &methods[i]
		v, ok := m.ImageToImage[r1]
		if m.Kind != retrieval.Baseline || m.Name == literalTwin || !ok {
			continue
		}
		if best == nil || v.Mean > best.ImageToImage[r1].Mean {
			best = m
		}
	}
	return best
}

// mostFooled is the method other than ours that finds twins most often.
func mostFooled(methods []retrieval.MethodResult, ours string) *retrieval.MethodResult {
	var most *retrieval.MethodResult
	for i := range methods {
		m := &methods[i]
		v, ok := m.ImageToImage["twin@1"]
		if m.Name == ours || !ok {
			continue
		}
		if most == nil || v.Mean > most.ImageToImage["twin@1"].Mean {
			most = m
		}
	}
	return most
}

// nearMisses returns the near misses of a method, of seen and of held-out
// relations.
func nearMisses(r *retrieval.Result, name string) []retrieval.NearMiss {
	var out []retrieval.NearMiss
	for _, methods := range [][]retrieval.MethodResult{r.Methods, r.HeldOut} {
		if m := byName(methods, name); m != nil {
			out = append(out, m.NearMiss...)
		}
	}
	return out
}

// verdictOf is the verdict that the result carries, or the rule's where it
// carries none.
func verdictOf(n retrieval.NearMiss) string {
	if n.Verdict != "" {
		return n.Verdict
	}
	return n.Judge()
}

// spaceSentence says what the similarity space shows: the mean of either
// similarity over pairs of one kind.
func spaceSentence(s *retrieval.Space) string {
	var parts []string
	for _, k := range []struct{ label, name string }{
		{retrieval.SameRelation, "the same relation"}, {retrieval.SameTwin, "the same attributes"}, {retrieval.Other, "neither in common"},
	} {
		var a, b float64
		n := 0
		for _, p := range s.Points {
			if p.Label == k.label {
				a, b, n = a+p.Attribute, b+p.Relational, n+1
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s and %s (%d pairs)", k.name, num2(a/float64(n)), num2(b/float64(n)), n))
		}
	}
	return "Mean attribute and relational similarity of pairs with " + strings.Join(parts, "; ") + "."
}
