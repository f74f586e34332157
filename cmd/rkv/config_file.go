package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/rkvdb/rkv/resp"
)

// paramsTable is the table of rkv.toml that holds parameters of Redis for this node,
// as CONFIG SET takes them:
//
//	addr = "127.0.0.1:6379"
//
//	[params]
//	slowlog-log-slower-than = "1000"
const paramsTable = "params"

// asFlag are the parameters that rkv.toml has above the table, being flags, with
// the form they have there.
var asFlag = map[string]func(value string) string{
	"maxclients": func(v string) string { return v },
	"timeout":    func(v string) string { return strconv.Quote(v + "s") },
}

// fileParams reads the table of a configuration file ("": none) and checks it.
func fileParams(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	values := map[string]any{}
	if _, err := toml.DecodeFile(file, &values); err != nil {
		return nil, nil // mergeFile says so
	}
	raw, there := values[paramsTable]
	if !there {
		return nil, nil
	}
	table, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("configuration file %s: %s must be a table, [%s]", file, paramsTable, paramsTable)
	}
	params := make(map[string]string, len(table))
	for name, value := range table {
		if asFlag[name] != nil {
			return nil, fmt.Errorf("configuration file %s: %s belongs above [%s]", file, name, paramsTable)
		}
		switch v := value.(type) {
		case bool:
			params[name] = map[bool]string{false: "no", true: "yes"}[v]
		case string, int64, float64:
			params[name] = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("configuration file %s: %s must be a string, a number or a truth value", file, name)
		}
	}
	if err := resp.CheckParams(params); err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", file, err)
	}
	return params, nil
}

// rewriteFile puts changed parameters into a configuration file and leaves everything
// else, comments included, as it is. After a crash the file is the old or the new one.
func rewriteFile(file string, changed map[string]string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := editConfig(string(old), changed)
	if err := checkRewrite(string(old), text, changed); err != nil {
		return err
	}
	return replaceFile(file, []byte(text))
}

// editConfig is the text of a file with the changes in it.
func editConfig(text string, changed map[string]string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if text == "" {
		lines = nil
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if form := asFlag[name]; form != nil {
			lines = setLine(lines, "", name, form(changed[name]))
		} else {
			lines = setLine(lines, paramsTable, name, strconv.Quote(changed[name]))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

var tableHeader = regexp.MustCompile(`^\s*\[\s*"?([^]"]*?)"?\s*\]`)

// setLine sets one name in a table ("": above the first), which is begun if it is
// missing.
func setLine(lines []string, table, name, value string) []string {
	line := name + " = " + value
	in, end := "", -1 // end is behind the table's last line that says something
	if table == "" {
		end = 0
	}
	for i, l := range lines {
		if m := tableHeader.FindStringSubmatch(l); m != nil {
			in = m[1]
		}
		if in != table {
			continue
		}
		if key, _, ok := strings.Cut(l, "="); ok && strings.Trim(strings.TrimSpace(key), `"`) == name {
			lines[i] = line
			return lines
		}
		if strings.TrimSpace(l) != "" {
			end = i + 1
		}
	}
	if end < 0 {
		return append(lines, "", "["+table+"]", line)
	}
	return slices.Insert(lines, end, line)
}

// checkRewrite makes sure that the new text says what the old one said, but for the
// changes: what a line looks like may deceive (text over several lines).
func checkRewrite(old, text string, changed map[string]string) error {
	want, got := map[string]any{}, map[string]any{}
	if _, err := toml.Decode(old, &want); err != nil {
		return fmt.Errorf("the file as it is now: %w", err)
	}
	if _, err := toml.Decode(text, &got); err != nil {
		return fmt.Errorf("the file cannot be changed line by line: %w", err)
	}
	for name, value := range changed {
		if form := asFlag[name]; form != nil {
			one := map[string]any{}
			if _, err := toml.Decode("x = "+form(value), &one); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			want[name] = one["x"]
			continue
		}
		table, ok := want[paramsTable].(map[string]any)
		if !ok {
			table = map[string]any{}
			want[paramsTable] = table
		}
		table[name] = value
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("the file cannot be changed line by line")
	}
	return nil
}

// replaceFile writes a file beside the old one and renames it over it.
func replaceFile(file string, data []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
