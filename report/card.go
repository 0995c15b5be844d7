package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"relsim/retrieval"
)

// Card is what the card of a published model says, its README.md. What is empty is
// left out.
type Card struct {
	Title string
	// Tower is "vision" or "text". Adapters says that the folder has adapters for the
	// base, and no weights of the base itself; Head that it has a head of its own.
	Tower    string
	Adapters bool
	Head     bool
	// Part is the class that the adapters are for, where that is a part of the base.
	Part string
	// Library reads the folder: peft, transformers, timm.
	Library string
	// Base is the published model, by its name on the hub or as a folder; Fingerprint a
	// hash of the weights that were taken from it, and Partner the model of the other tower.
	Base, Fingerprint, Partner string
	// ImageSize are pixels, Dim numbers of an embedding.
	ImageSize, Dim int
	// Facts are lines on the training: data, captions, steps, learning rate …
	Facts []Fact
	// Result has the figures; nil: the model was not evaluated.
	Result *retrieval.Result
}

// hubName is a name that a hub can know.
var hubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+$`)

// Markdown returns the card: a YAML front matter as model hubs read it, what the files
// are and how they are loaded, what the model was trained on, and every figure of the
// evaluation with its interval.
func (c Card) Markdown() []byte {
	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("---")
	if c.Library != "" {
		say("library_name: %s", quoted(c.Library))
	}
	if hubName.MatchString(c.Base) {
		say("base_model: %s", quoted(c.Base))
	}
	if c.Tower == "text" {
		say("pipeline_tag: sentence-similarity")
	} else {
		say("pipeline_tag: image-feature-extraction")
	}
	say("tags:\n- relational-visual-similarity")
	if c.Adapters {
		say("- lora")
	}
	say("---\n\n# %s\n", plainText(c.Title))
	say("Trained for *relational visual similarity* (arXiv:2512.07833): two pictures are similar where the relations among their")
	say("elements correspond, whatever these look like. The similarity is the dot product of two embeddings of length one.\n")
	c.files(say)
	c.training(say)
	c.figures(say)
	return b.Bytes()
}

// files says what the folder holds.
func (c Card) files(say func(string, ...any)) {
	say("## Files\n")
	what := "image encoder"
	if c.Tower == "text" {
		what = "text encoder"
	}
	base := baseName(c.Base)
	if c.Adapters {
		if c.Part != "" {
			what += " (`" + plainText(c.Part) + "`)"
		}
		say("* `adapter_config.json`, `adapter_model.safetensors`: low-rank adapters (LoRA, arXiv:2106.09685) for the %s of %s, as PEFT writes them.", what, base)
	} else {
		say("* `config.json`, `model.safetensors`: the whole %s.", what)
	}
	if c.Head {
		say("* `head.safetensors`: `projection.weight` and, where there is one, `projection.bias` of the linear layer from the pooled")
		say("  output (for a class token: its normed row) to the embedding, which is then divided by its length.")
	}
	if c.ImageSize > 0 && c.Tower != "text" {
		say("\nPictures are %d × %d pixels. Embeddings have %d numbers.", c.ImageSize, c.ImageSize, c.Dim)
	} else if c.Dim > 0 {
		say("\nEmbeddings have %d numbers.", c.Dim)
	}
	if c.Base != "" {
		line := fmt.Sprintf("\nThe base is %s", base)
		if c.Fingerprint != "" {
			line += fmt.Sprintf("; what was taken of its weights has the fingerprint `%s`", plainText(c.Fingerprint))
		}
		say("%s.", line)
	}
	if c.Partner != "" {
		say("The other tower is %s.", baseName(c.Partner))
	}
	if c.Library != "" {
		say("\nThe names and shapes of the tensors follow the published layout, and the program that wrote the files reads them back to the")
		say("same embeddings, bit for bit. They have not been loaded by %s itself.", plainText(c.Library))
	}
	say("")
}

// training lists the facts.
func (c Card) training(say func(string, ...any)) {
	if len(c.Facts) == 0 {
		return
	}
	say("## Training\n")
	for _, f := range c.Facts {
		say("* %s: %s", plainText(f.Name), plainText(f.Value))
	}
	say("")
}

// cardMetrics are the columns of the table of figures.
var cardMetrics = []struct{ metric, title string }{
	{"recall@1", "R@1"}, {"recall@10", "R@10"}, {"map", "mAP"}, {"mrr", "MRR"}, {"twin@1", "look-alike first"},
}

// figures prints the tables of the evaluation.
func (c Card) figures(say func(string, ...any)) {
	say("## Evaluation\n")
	r := c.Result
	if r == nil || len(r.Methods) == 0 {
		say("None is recorded.")
		return
	}
	r = clean(r)
	say("%s, split %s: %d queries in a gallery of %d pictures; a pair is right if it shares its %s. Brackets are 95 %% intervals of a",
		plainText(filepath.Base(r.Data)), plainText(r.Split), r.Queries, r.Gallery, sameWord(r))
	say("bootstrap over %d resamples of each %s.\n", r.Resamples, plainText(r.Clusters))
	table := func(methods []retrieval.MethodResult) {
		head, rule := "| model |", "|---|"
		var columns []string
		for _, m := range cardMetrics {
			for _, method := range methods {
				if _, ok := method.ImageToImage[m.metric]; ok {
					columns = append(columns, m.metric)
					head, rule = head+" "+m.title+" |", rule+"---|"
					break
				}
			}
		}
		say("%s\n%s", head, rule)
		for _, method := range methods {
			line := "| " + plainText(method.Name) + " |"
			for _, column := range columns {
				cell := "–"
				if v, ok := method.ImageToImage[column]; ok {
					cell = bracket(v)
				}
				line += " " + cell + " |"
			}
			say("%s", line)
		}
	}
	table(r.Methods)
	if len(r.HeldOut) > 0 {
		say("\nOn relations that were never trained on:\n")
		table(r.HeldOut)
	}
}

// baseName is how a model is called in the text: a name on the hub as it is, of a
// folder the last part only.
func baseName(name string) string {
	if !hubName.MatchString(name) {
		name = filepath.Base(name)
	}
	return "`" + strings.ReplaceAll(plainText(name), "`", "'") + "`"
}

// quoted is a string in YAML, which takes those of JSON.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(text)
}

// plainText keeps a string from being read as Markdown or from ending its line.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r == '|' || r == '<' || r == '>':
			return -1
		}
		return r
	}, s)
}
