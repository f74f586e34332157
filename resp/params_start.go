package resp

import (
	"fmt"
	"sort"

	"github.com/rkvdb/rkv/kv"
)

// CheckParams tells what is wrong with parameters given at the start (Options.Params),
// in one error; nil if nothing is. Only those of a node may be given: settings of the
// cluster go through its log (CONFIG SET), for a node that started with another value
// would have to differ or to lie.
func CheckParams(given map[string]string) error {
	for _, name := range sortedNames(given) {
		p := findParam(name)
		switch {
		case kv.IsSetting([]byte(name)):
			return fmt.Errorf("parameter %s is the whole cluster's: set it with CONFIG SET", name)
		case p == nil:
			return fmt.Errorf("unknown parameter %q", name)
		case p.set == nil || p.name == "requirepass":
			return fmt.Errorf("parameter %s cannot be set this way", name)
		}
		if err := p.check(given[name]); err != nil {
			return fmt.Errorf("parameter %s is %q: %w", name, given[name], err)
		}
	}
	return nil
}

// startWith sets the parameters given at the start.
func (s *Server) startWith(given map[string]string) error {
	if err := CheckParams(given); err != nil {
		return err
	}
	for _, name := range sortedNames(given) {
		findParam(name).set(s, given[name])
	}
	return nil
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
