package viewer_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"relsim/dataloader"
	"relsim/viewer"
)

// A page of one's own: its script reads a block of data and shows a picture. The same page goes into a file by Export.
func ExampleSite() {
	grey := &dataloader.Image{Width: 1, Height: 1, Pix: []byte{128, 128, 128}}
	ds := dataloader.NewMemory("one picture", []dataloader.Item{{ID: "a", Caption: "{Subject}"}}, []*dataloader.Image{grey})
	page := &viewer.Page{
		Title: "A page", Body: `<main><h1 id="name"></h1></main>`, Version: ds.Fingerprint(),
		Script: `relsim.data('set').then(set => {
			document.getElementById('name').append(set.name, relsim.el('img', {src: relsim.picture(0, 96), alt: set.name}));
		}).catch(relsim.fail);`,
		Blocks: []viewer.Block{{Name: "set", JSON: []byte(`{"name":"one picture"}`)}},
	}
	site := viewer.NewSite()
	if err := site.AddPage("/", page); err != nil {
		fmt.Println(err)
		return
	}
	site.AddPictures("/", viewer.NewPictures(ds, 1<<20))

	ctx, cancel := context.WithCancel(context.Background())
	err := site.Serve(ctx, viewer.Listen{}, func(url string) {
		defer cancel() // a command goes on until Ctrl-C
		for _, path := range []string{"", "blocks/set", "picture/0?side=96"} {
			r, err := http.Get(url + path)
			if err != nil {
				fmt.Println(err)
				return
			}
			r.Body.Close()
			fmt.Println(r.StatusCode, strings.Split(r.Header.Get("Content-Type"), ";")[0])
		}
	})
	fmt.Println(err)
	// Output:
	// 200 text/html
	// 200 application/json
	// 200 image/png
	// <nil>
}
