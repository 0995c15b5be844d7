//go:build linux && amd64 && !nogpu

package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clearPlaces lets nothing be found by the environment, and returns the folder that is the user's.
func clearPlaces(t *testing.T) (home string) {
	t.Helper()
	for _, variable := range []string{"CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PATH"} {
		t.Setenv(variable, "")
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	return home
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o777)); err != nil {
		t.Fatal(err)
	}
}

// TestToolkitFolders has every place there is, and looks at their order: what the environment names, the system's CUDA,
// Python's packages, Windows' subsystem for Linux.
func TestToolkitFolders(t *testing.T) {
	home, root := clearPlaces(t), t.TempDir()
	cudaHome, venv, conda, other := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("CUDA_HOME", cudaHome)
	t.Setenv("VIRTUAL_ENV", venv)
	t.Setenv("CONDA_PREFIX", conda)
	touch(t, other+"/bin/python3")
	t.Setenv("PATH", "relative:"+other+"/bin:/nowhere")
	want := []string{
		cudaHome + "/lib64",
		root + "/usr/local/cuda/lib64",
		root + "/usr/local/cuda-13.0/lib64",
		root + "/usr/local/cuda-12.10/lib64", // after the numbers, not the letters
		root + "/usr/local/cuda-12.8/lib64",
		root + "/usr/local/cuda-9.2/lib64",
		root + "/opt/cuda/targets/x86_64-linux/lib",
		venv + "/lib/python3.12/site-packages/nvidia/cublas/lib",
		venv + "/lib/python3.12/site-packages/nvidia/cu13/lib",
		venv + "/lib/python3.9/site-packages/nvidia/cu13/lib",
		conda + "/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib",
		other + "/lib/python3.12/site-packages/nvidia/cu13/lib",
		home + "/.local/lib/python3.11/site-packages/nvidia/cublas/lib",
		root + "/usr/local/lib/python3.11/dist-packages/nvidia/cublas/lib",
		root + "/opt/conda/lib/python3.10/site-packages/nvidia/cublas/lib",
		conda + "/lib",
		root + "/usr/lib/wsl/lib",
	}
	for _, folder := range slices.Backward(want) {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	touch(t, root+"/usr/local/cuda-14.0/lib64") // a file
	got := toolkitFolders(root)
	got = slices.DeleteFunc(got, func(folder string) bool { return folder == cudaHome+"/lib" })
	if !slices.Equal(got, want) {
		t.Errorf("folders\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestToolkitNames(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, path := range []string{a + "/libx.so.12", a + "/libx.so", b + "/libx.so.13", b + "/libx.so.12", b + "/libx.so.11.2"} {
		touch(t, path)
	}
	if err := os.Mkdir(a+"/libx.so.13", 0o777); err != nil { // a folder is no library
		t.Fatal(err)
	}
	k := toolkit{"x", "RELSIM_LIBX", []string{"13", "12", "11.2", ""}, sharedObject("x")}
	for _, tt := range []struct {
		driver int
		want   []string
	}{
		{13000, []string{"libx.so.13", "libx.so.12", "libx.so.11.2", "libx.so",
			a + "/libx.so.12", a + "/libx.so", b + "/libx.so.13", b + "/libx.so.12", b + "/libx.so.11.2"}},
		{12080, []string{"libx.so.12", "libx.so.11.2", "libx.so", a + "/libx.so.12", a + "/libx.so", b + "/libx.so.12", b + "/libx.so.11.2",
			"libx.so.13", b + "/libx.so.13"}}, // what the driver is too old for comes last
	} {
		if got := k.names([]string{a, b}, tt.driver); !slices.Equal(got, tt.want) {
			t.Errorf("driver %d: %v, want %v", tt.driver, got, tt.want)
		}
	}
	for version, want := range map[string]int{"13": 13, "11.2": 11, "120": 12, "": 0} {
		if got := major(version); got != want {
			t.Errorf("major(%q) = %d, want %d", version, got, want)
		}
	}
}

// TestFind opens a library that is found in all ways: the one that is named, that of the loader, those of folders, none. A file
// that is no library is passed by, and named where nothing else is there.
func TestFind(t *testing.T) {
	if fakeErr != nil || control.reset == 0 {
		t.Skip("NOT RUN: this test is for the fake driver: ", fakeErr)
	}
	lib := os.Getenv(NVRTCEnv)
	loader := os.Getenv("CUDA_TEST_LOADER")
	if loader == "" {
		loader = t.TempDir()
	}
	if !child(t, "LD_LIBRARY_PATH="+loader, "CUDA_TEST_LOADER="+loader) {
		return
	}
	home := clearPlaces(t)
	t.Setenv("RELSIM_LIBX", "")
	k := toolkit{"the library X", "RELSIM_LIBX", []string{"13", "12", "11.2", ""}, sharedObject("relsimx")}
	missing := func() {
		t.Helper()
		_, err := k.open()
		oneClearLine(t, err, "the library X is not installed, or not where it is looked for: the loader's folders, $CUDA_HOME, ")
		if !strings.Contains(err.Error(), "RELSIM_LIBX names its file") {
			t.Error(err)
		}
	}
	missing()
	link := func(path string) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.Symlink(lib, path)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	found := func(want string) {
		t.Helper()
		if lib, err := k.open(); err != nil || lib.Name != want {
			t.Errorf("%v, %v, want %s", lib, err, want)
		}
	}
	damaged := home + "/.local/lib/python3.12/site-packages/nvidia/cu13/lib/librelsimx.so.13"
	touch(t, damaged)
	if _, err := k.open(); err == nil || !strings.Contains(err.Error(), damaged) {
		t.Errorf("%v, want %s named", err, damaged)
	}
	found(link(home + "/.local/lib/python3.9/site-packages/nvidia/x/lib/librelsimx.so.12"))
	venv := t.TempDir()
	t.Setenv("VIRTUAL_ENV", venv)
	found(link(venv + "/lib/python3.13/site-packages/nvidia/cu12/lib/librelsimx.so.12"))
	cudaHome := t.TempDir()
	t.Setenv("CUDA_HOME", cudaHome)
	found(link(cudaHome + "/lib64/librelsimx.so.11.2"))
	link(loader + "/librelsimx.so.12")
	found("librelsimx.so.12")
	t.Setenv("RELSIM_LIBX", lib)
	found(lib)
	t.Setenv("RELSIM_LIBX", damaged) // what is named is taken, or nothing
	_, err := k.open()
	oneClearLine(t, err, "the library X (RELSIM_LIBX="+damaged+"): ")
}

func TestCompareVersions(t *testing.T) {
	names := []string{"python3.12", "python3.9", "cuda-12.8", "cuda-9.2", "cuda-12.10", "cuda-012", "cuda", "cu13", "cublas"}
	slices.SortFunc(names, compareVersions)
	want := []string{"cu13", "cublas", "cuda", "cuda-9.2", "cuda-012", "cuda-12.8", "cuda-12.10", "python3.9", "python3.12"}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}
