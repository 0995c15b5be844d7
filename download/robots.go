package download

import "strings"

// optOuts are the directives of X-Robots-Tag that say no. noai and noimageai are about training; noindex, noimageindex
// and none (which is noindex and nofollow) keep a picture out of collections altogether. img2dataset takes the same ones,
// but for none.
var optOuts = map[string]bool{"noai": true, "noimageai": true, "noindex": true, "noimageindex": true, "none": true}

// valued are the directives that have a value behind a colon; other words before one name a robot.
var valued = map[string]bool{"unavailable_after": true, "max-snippet": true, "max-image-preview": true, "max-video-preview": true}

// optedOut returns the directive of X-Robots-Tag headers that keeps us from using an answer, or "". A header has
// directives between commas; a name with a colon before one says which robot it and those behind it are for. robot is
// our name, in lower case; "*" is everyone.
func optedOut(headers []string, robot string) string {
	for _, h := range headers {
		ours := true
		for field := range strings.SplitSeq(h, ",") {
			field = strings.ToLower(strings.TrimSpace(field))
			for {
				name, rest, ok := strings.Cut(field, ":")
				name = strings.TrimSpace(name)
				if !ok || valued[name] {
					break
				}
				ours = name == "*" || name == robot
				field = strings.TrimSpace(rest)
			}
			if ours && optOuts[field] {
				return field
			}
		}
	}
	return ""
}

// robotName returns the name in a User-Agent by which headers address us: "relsim" of "relsim/1.0 (…)".
func robotName(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, "/")
	name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
	return strings.ToLower(name)
}
