package formats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// layout says where the parts of an output go. Paths are those of the end; root says where they are made.
type layout struct {
	format string
	file   string // the output is a file, or a file and a folder of pictures
	folder string // the output is a folder
	images string // folder of the pictures of a file of rows
	shards shardNames
	many   bool   // several data sets
	refer  string // folder of the pictures, which are not copied

	stagedFile, stagedFolder, stagedImages string
	store                                  *imageStore // of all parts
}

// shardNames is how shards are called: the number stands between, with so many digits.
type shardNames struct {
	before, after string
	digits        int
}

func (p shardNames) name(n int) string {
	return fmt.Sprintf("%s%0*d%s", p.before, p.digits, n, p.after)
}

var shardPattern = regexp.MustCompile(`^([^{}]*)\{(0+)\.\.(\d*)\}([^{}]*)$`)

// rowEndings are the names of the formats of rows.
var rowEndings = []struct{ ending, format string }{
	{".jsonl", JSONL}, {".ndjson", JSONL}, {".csv", CSV}, {".tsv", TSV},
}

// defaultFile is the name of the rows in a folder.
var defaultFile = map[string]string{JSONL: "rows.jsonl", CSV: "rows.csv", TSV: "rows.tsv", Groups: "seed_group.json"}

// FormatAt returns the format, of [FormatNames], that the name of a file says; "" where it says none.
func FormatAt(dst string) string {
	name := plainName(dst)
	for _, e := range rowEndings {
		if strings.HasSuffix(name, e.ending) {
			return e.format
		}
	}
	switch {
	case name != strings.ToLower(filepath.Base(dst)): // packed
		return ""
	case strings.HasSuffix(name, ".parquet"):
		return Parquet
	case strings.HasSuffix(name, ".tar"):
		return WebDataset
	case name == defaultFile[Groups]:
		return Groups
	}
	return ""
}

// layoutOf reads a destination.
func layoutOf(dst string, o WriteOptions, many bool) (*layout, error) {
	if dst == "" {
		return nil, errors.New("the destination has no name")
	}
	path, folder := cleanSpec(dst)
	said := FormatAt(path)
	if info, err := os.Stat(path); folder || many || err == nil && info.IsDir() {
		said = "" // a folder, whatever its name is
		folder = true
	}
	l := &layout{format: o.Format, many: many, refer: o.Refer}
	switch {
	case l.format == "" && said == "":
		return nil, fmt.Errorf("a folder may have several formats: say which one of %s", strings.Join(FormatNames(), ", "))
	case l.format == "":
		l.format = said
	case said != "" && said != l.format:
		return nil, fmt.Errorf("the name is that of the format %s, and %s is asked for", said, l.format)
	}
	if o.NoImages && (l.format == WebDataset || l.format == Folder) {
		return nil, fmt.Errorf("the format %s has no rows without pictures", l.format)
	}
	if o.OpenCLIP && l.format != CSV && l.format != TSV {
		return nil, fmt.Errorf("open_clip's columns are those of the formats %s and %s, not of %s", CSV, TSV, l.format)
	}
	l.shards = shardNames{"", shardEnding[l.format], 6}
	base := filepath.Base(path)
	if m := shardPattern.FindStringSubmatch(base); m != nil && !folder {
		switch {
		case m[3] != "":
			return nil, fmt.Errorf("the number of shards comes of their size: want {%s..} instead of {%s..%s}", m[2], m[2], m[3])
		case shardEnding[l.format] == "":
			return nil, fmt.Errorf("the format %s has no shards", l.format)
		}
		l.shards = shardNames{m[1], m[4], len(m[2])}
		l.folder = filepath.Dir(path)
	} else if strings.ContainsAny(base, "{}") && !folder && said != "" {
		return nil, fmt.Errorf("%q: want shards to be called like {000000..}%s", base, shardEnding[l.format])
	} else if said == "" {
		l.folder = path
		if !folder && l.format != Folder && filepath.Ext(path) != "" && defaultFile[l.format] != "" {
			return nil, fmt.Errorf("the name is not that of the format %s: want an ending such as %s, or a folder", l.format, filepath.Ext(defaultFile[l.format]))
		}
	} else {
		l.file = path
		if !o.NoImages && defaultFile[l.format] != "" {
			l.images = filepath.Join(filepath.Dir(path), imagesName)
		}
	}
	if l.refer != "" && l.folder == "" {
		return nil, errors.New("rows that refer to pictures want a folder of their own")
	}
	if l.folder == "." || l.folder == string(filepath.Separator) || l.folder == ".." || strings.HasSuffix(l.folder, string(filepath.Separator)+"..") {
		return nil, errors.New("want a folder that can be moved to its place, not this one: name a new one")
	}
	return l, nil
}

// imagesName is the folder of the pictures beside rows.
const imagesName = "images"

// shardEnding are the formats that come in shards.
var shardEnding = map[string]string{WebDataset: ".tar", Parquet: ".parquet"}

// stage makes room for the output.
func (l *layout) stage(p *staging, o WriteOptions) (err error) {
	if l.folder != "" {
		if l.stagedFolder, err = p.add(l.folder, true); err != nil {
			return err
		}
		if defaultFile[l.format] != "" && l.format != Groups && !o.NoImages {
			l.images = filepath.Join(l.folder, imagesName)
			l.stagedImages = filepath.Join(l.stagedFolder, imagesName)
			err = os.Mkdir(l.stagedImages, 0o755)
		}
		if l.refer != "" {
			var linked bool
			if linked, err = link(l.refer, l.stagedFolder, l.folder); linked {
				l.images = filepath.Join(l.folder, imagesName)
			} else {
				l.images = l.refer
			}
		}
	} else {
		if l.images != "" {
			if l.stagedImages, err = p.add(l.images, true); err != nil {
				return err
			}
		}
		l.stagedFile, err = p.add(l.file, false)
	}
	if l.stagedImages != "" {
		l.store = newImageStore(l.stagedImages, false)
	}
	return err
}

// rowsFile returns where the rows of a part are made, and where they end up.
func (l *layout) rowsFile(part Part) (staged, final string) {
	if l.file != "" {
		return l.stagedFile, l.file
	}
	name := defaultFile[l.format]
	if part.Name != "" {
		name = part.Name + filepath.Ext(name)
	}
	return filepath.Join(l.stagedFolder, name), filepath.Join(l.folder, name)
}

// partFolder returns where the folder of a part is made, and where it ends up.
func (l *layout) partFolder(part Part) (staged, final string, err error) {
	if !l.many {
		return l.stagedFolder, l.folder, nil
	}
	staged = filepath.Join(l.stagedFolder, part.Name)
	return staged, filepath.Join(l.folder, part.Name), os.Mkdir(staged, 0o755)
}

// open opens a part of the output.
func (l *layout) open(part Part, o WriteOptions, w *Written) (sink, error) {
	switch l.format {
	case JSONL:
		return l.openJSONL(part, w)
	case CSV, TSV:
		return l.openTable(part, o, w)
	case Parquet:
		return l.openParquet(part, o, w)
	case WebDataset:
		return l.openShards(part, o, w)
	case Folder:
		return l.openFolder(part, w)
	}
	return l.openGroups(part, o, w)
}
