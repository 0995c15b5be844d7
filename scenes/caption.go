package scenes

import (
	"slices"
	"strings"
)

var numberWords = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

// literal names the attributes of a picture and nothing else: number, colour, texture and shape of its three most
// frequent kinds of object, and the background.
func literal(p *profile, objects []object) string {
	type kind struct{ shape, texture, color, count int }
	var kinds []kind
	for i := range objects {
		o := &objects[i]
		if o.aux {
			continue
		}
		k := slices.IndexFunc(kinds, func(k kind) bool {
			return k.shape == o.shape && k.texture == o.texture && k.color == o.color
		})
		if k < 0 {
			k = len(kinds)
			kinds = append(kinds, kind{o.shape, o.texture, o.color, 0})
		}
		kinds[k].count++
	}
	slices.SortStableFunc(kinds, func(a, b kind) int { return b.count - a.count })
	var text strings.Builder
	for i, k := range kinds[:min(3, len(kinds))] {
		if i > 0 {
			text.WriteString(" and ")
		}
		number := "many"
		if k.count < len(numberWords) {
			number = numberWords[k.count]
		}
		text.WriteString(number + " " + colorNames[k.color] + " " + textureNames[k.texture] + " " + shapeNames[k.shape])
		if k.count > 1 {
			if strings.HasSuffix(shapeNames[k.shape], "s") {
				text.WriteByte('e')
			}
			text.WriteByte('s')
		}
	}
	text.WriteString(" on a " + p.groundName + " " + styleNames[p.style] + " background")
	return text.String()
}
