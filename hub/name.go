package hub

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Name is the name of a published model, as in "org/name" or "org/name@revision".
type Name struct {
	// Repo is "org/name".
	Repo string
	// Revision is a branch, a tag or a commit; "main" where the name has none.
	Revision string
}

// String returns the name as a user writes it.
func (n Name) String() string {
	if n.Revision == "main" {
		return n.Repo
	}
	return n.Repo + "@" + n.Revision
}

// folder returns the folder of the model's files in a cache: no part of the name has "--".
func (n Name) folder() string { return "models--" + strings.ReplaceAll(n.Repo, "/", "--") }

const maxRevision = 128

var (
	// The hub's rule for names: letters, digits, "_", "-" and ".", the last two not at the ends.
	namePart = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$`)
	// A part of a revision becomes a file name in the cache.
	revisionPart = regexp.MustCompile(`^[A-Za-z0-9_+=]([A-Za-z0-9_.+=-]*[A-Za-z0-9_+=-])?$`)
	commitForm   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// Parse reads a name. It refuses what the hub refuses, and what could leave the folders of
// a cache.
func Parse(s string) (Name, error) {
	repo, revision, ok := strings.Cut(s, "@")
	if !ok {
		revision = "main"
	}
	org, name, ok := strings.Cut(repo, "/")
	switch {
	case !ok:
		return Name{}, fmt.Errorf(`%q: a published model is named "org/name" or "org/name@revision"`, s)
	case !namePart.MatchString(org) || !namePart.MatchString(name) || strings.Contains(repo, "--") ||
		strings.Contains(repo, "..") || strings.HasSuffix(repo, ".git"):
		return Name{}, fmt.Errorf("%q: org and name are letters, digits, '_', '-' and '.', without '--' and '..'", s)
	}
	if err := checkRevision(revision); err != nil {
		return Name{}, fmt.Errorf("%q: %w", s, err)
	}
	return Name{Repo: repo, Revision: revision}, nil
}

func checkRevision(s string) error {
	if len(s) > maxRevision {
		return fmt.Errorf("a revision of %d characters, at most %d are read", len(s), maxRevision)
	}
	for part := range strings.SplitSeq(s, "/") {
		if !revisionPart.MatchString(part) || strings.Contains(part, "..") || strings.HasSuffix(part, ".lock") {
			return errors.New("the revision is no branch, tag or commit")
		}
	}
	return nil
}
