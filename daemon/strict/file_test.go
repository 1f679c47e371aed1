package strict

import (
	"strings"
	"testing"
)

type example struct {
	Name string   `yaml:"name"`
	List []string `yaml:"list"`
	Deep struct {
		Size int `yaml:"size"`
	} `yaml:"deep"`
}

func TestWhatIsNotUnderstoodNamesItsLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"name: a\nnmae: b\n":            `line 2: unknown field "nmae"`,
		"name: a\ndeep:\n  syze: 3\n":   `line 3: unknown field "syze"`,
		"name: a\nname: b\n":            "line 2:",
		"name: a\ndeep: {size: much}\n": "line 2:",
		"name: &x a\n":                  "line 1: anchors",
		"name: a\nlist: [!!str x]\n":    "line 2: anchors",
		"name: [\n":                     "line",
		"":                              "it is empty",
		"# nothing\n":                   "it is empty",
		"name: a\n---\nname: b\n":       "2 documents",
		strings.Repeat("#", 101):        "101 bytes",
	} {
		var e example
		f, err := Parse([]byte(text), 100)
		if err == nil {
			err = f.Decode(&e)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestLinesAreFoundInLists(t *testing.T) {
	t.Parallel()
	f, err := Parse([]byte("name: a\nvaults:\n  - path: /a\n  - name: b\n    path: /b\nlist: [x]\n"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"name": 1, "vaults": 2, "vaults 0": 3, "vaults 1 path": 5, "vaults 1 size": 4, "vaults 7": 2, "list 0": 6, "none": 0} {
		if got := f.Line(strings.Fields(path)...); got != want {
			t.Errorf("%s is on line %d, want %d", path, got, want)
		}
	}
}

func TestASectionIsReadBySomebodyElse(t *testing.T) {
	t.Parallel()
	f, err := Parse([]byte("name: a\ndeep:\n  size: 3\n  more: 4\n"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	deep := f.Take("deep")
	var e example
	if err := f.Decode(&e); err != nil || e.Deep.Size != 0 || deep == nil || f.Take("other") != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := deep.Decode(&e.Deep); err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("%v", err)
	}
}

func FuzzAnyTextIsReadOrRefused(f *testing.F) {
	for _, text := range []string{"name: a", "a: &b\n  <<: *b\n", "---\n- 1\n", "list: [", "? a\n: b", "\"\\", "- - -", "name: |\n x"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		file, err := Parse([]byte(text), 1<<16)
		if err != nil {
			return
		}
		file.Line("list", "0")
		file.Take("deep")
		file.Decode(&example{})
	})
}
