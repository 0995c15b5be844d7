// Package viewer shows data sets and what was made of them in a browser: by a server on the machine itself, or in a file
// that needs none.
//
// A [Page] is HTML, a style, a script and blocks of JSON that the script reads. A [Site] serves pages, and pictures as
// small as they are shown ([Pictures]); [Page.Export] writes a page into one file, blocks and pictures with it. The same
// script runs in both. To add a page, make a Page (see [DataPage]) and
//
//	site := viewer.NewSite()
//	site.AddPage("/", page)                                   // page, and its blocks below /blocks/
//	site.AddPictures("/", viewer.NewPictures(ds, 64<<20))     // GET /picture/{row}
//	site.Handle("POST /votes", handler)                       // anything else the page talks to
//	err := site.Serve(ctx, viewer.Listen{Port: 8017}, func(url string) { fmt.Println(url) })
//
// In the page, the script assets/page.js comes first: relsim.data("name") is a promise of a block, relsim.picture(row,
// side) the address of a picture, relsim.el makes elements out of text that stays text. Pages have no inline styles or
// handlers: their policy (Content-Security-Policy) admits the style and script of the page by hash, nothing else.
package viewer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"
)

//go:embed assets/page.html
var pageHTML string

//go:embed assets/page.css
var pageCSS string

//go:embed assets/page.js
var pageJS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// Page is a page that a [Site] serves and that a file can hold.
type Page struct {
	Title   string
	Style   string        // CSS, after the common one
	Body    template.HTML // inside <body>, without scripts, style attributes and handlers
	Script  string        // JavaScript, after the common one
	Blocks  []Block       // what the script reads
	Version string        // of the pictures: part of their addresses, so that a browser keeps no others
}

// Block is JSON under a name of letters, digits and hyphens.
type Block struct {
	Name string
	JSON []byte
}

var blockName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// document is what page.html shows.
type document struct {
	Title, Version string
	Policy         string // of a file; a server sends it as a header
	Style          template.CSS
	Script         template.JS
	Body           template.HTML
	Blocks         []packed
}

// packed is a block in a file: gzip in base64.
type packed struct {
	Name string
	Data template.HTML // base64: as it is, where the template would escape plus signs
}

// check returns an error if the page cannot be shown.
func (p *Page) check() error {
	seen := make(map[string]bool)
	for _, b := range p.Blocks {
		if !blockName.MatchString(b.Name) || seen[b.Name] {
			return fmt.Errorf("viewer: page %q: block %q: want small letters, digits and hyphens, each name once", p.Title, b.Name)
		}
		seen[b.Name] = true
	}
	for _, text := range []string{p.Script, p.Style} {
		if lower := strings.ToLower(text); strings.Contains(lower, "</script") || strings.Contains(lower, "</style") || strings.Contains(lower, "<!--") {
			return fmt.Errorf("viewer: page %q: its script or style has </script, </style or <!-- in it", p.Title)
		}
	}
	return nil
}

func (p *Page) style() string  { return pageCSS + p.Style }
func (p *Page) script() string { return pageJS + p.Script }

// policy is the Content-Security-Policy of the page. Pictures and blocks come from its own server; in a file, pictures
// lie beside it or in it.
func (p *Page) policy(file bool) string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy := "default-src 'none'; script-src " + hash(p.script()) + "; style-src " + hash(p.style()) +
		"; img-src 'self' data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	if !file {
		policy += "; connect-src 'self'; frame-ancestors 'none'" // a file cannot say the latter
	}
	return policy
}

// HTML returns the page as a server gives it: its blocks and pictures are fetched.
func (p *Page) HTML() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.render(document{})
}

func (p *Page) render(d document) ([]byte, error) {
	d.Title, d.Version, d.Body = p.Title, p.Version, p.Body
	d.Style, d.Script = template.CSS(p.style()), template.JS(p.script())
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("viewer: page %q: %w", p.Title, err)
	}
	return b.Bytes(), nil
}

// Export writes the page into one file that needs no server. Its blocks are in it, packed; a block called "pictures",
// an object of addresses by row, says where pictures are: in the file (data:), or beside it.
func (p *Page) Export(w io.Writer) error {
	if err := p.check(); err != nil {
		return err
	}
	d := document{Policy: p.policy(true)}
	for _, block := range p.Blocks {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(block.JSON); err != nil {
			return fmt.Errorf("viewer: page %q: block %s: %w", p.Title, block.Name, err)
		}
		if err := z.Close(); err != nil {
			return fmt.Errorf("viewer: page %q: block %s: %w", p.Title, block.Name, err)
		}
		d.Blocks = append(d.Blocks, packed{block.Name, template.HTML(base64.StdEncoding.EncodeToString(b.Bytes()))})
	}
	html, err := p.render(d)
	if err != nil {
		return err
	}
	if _, err := w.Write(html); err != nil {
		return fmt.Errorf("viewer: page %q: %w", p.Title, err)
	}
	return nil
}
