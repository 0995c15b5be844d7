//go:build windows && (amd64 || arm64) && !noturbo && !nogpu

package jpeg

// turboNames are the names that installers give the library.
var turboNames = []string{"turbojpeg.dll", "libturbojpeg.dll", `C:\libjpeg-turbo64\bin\turbojpeg.dll`}
