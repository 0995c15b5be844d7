package hub_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"relsim/hub"
)

// A folder stands for itself; what is neither a folder nor the name of a model is an error
// that says so.
func ExampleResolve() {
	dir, err := hub.Resolve(context.Background(), os.TempDir(), hub.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dir == os.TempDir())
	_, err = hub.Resolve(context.Background(), "clip", hub.Options{})
	fmt.Println(err)
	// With a network, hub.Resolve(ctx, "openai/clip-vit-large-patch14", hub.Options{}) downloads
	// that model once, and returns its folder from then on.

	// Output:
	// true
	// hub: there is no folder "clip": a published model is named "org/name" or "org/name@revision"
}

func ExampleParse() {
	n, err := hub.Parse("openai/clip-vit-large-patch14@refs/pr/19")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Repo, n.Revision)
	// Output: openai/clip-vit-large-patch14 refs/pr/19
}
