package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The descriptions are those of Redis 7.0 for the same rules.
func TestACLDescribesCommands(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{"", "-@all"},
		{"+@all -@string +@string", "+@all"},
		{"-@all +@hash +@slow +hget", "-@all +@slow +@hash"},
		{"+@all -config +config|get", "+@all -config +config|get"},
		{"-@all +config -config|set", "-@all +config -config|set"},
		{"+@string -@string", "-@all"},
		{"-@all +memory|doctor +memory", "-@all +memory"},
		{"+@all -memory|doctor", "+@all -memory|doctor"},
	} {
		u := newUser("u", 1, false)
		require.Empty(t, u.applyAll(splitRules(c.rules)), c.rules)
		require.Equal(t, c.want, u.selectors[0].commandRules(), c.rules)
	}
	for _, cat := range CategoryNames {
		u := newUser("u", 1, false)
		require.Empty(t, u.applyAll(splitRules("+@all -@"+cat)))
		require.Equal(t, "+@all -@"+cat, u.selectors[0].commandRules())
		require.Empty(t, u.applyAll(splitRules("-@all +@"+cat)))
		require.Equal(t, "-@all +@"+cat, u.selectors[0].commandRules())
	}
}

// Users survive a snapshot with ids and permissions: sessions know users by id.
func TestACLInSnapshot(t *testing.T) {
	st := newState(1, 16)
	for _, u := range [][2]string{
		{"alice", "on #" + HashPassword([]byte("pw")) + " %R~r* ~b &c +@all -@dangerous +config|get (~x +get) (%W~y -@all +set)"},
		{"bob", "on nopass +select|0 +select|1 -@all +@hash"},
	} {
		a, msg := st.acl.setUser([]byte(u[0]), splitRules(u[1]), false)
		require.Empty(t, msg)
		st.acl = a
	}
	back, err := decodeState(st.encode())
	require.NoError(t, err)
	require.Equal(t, st.acl.rows(), back.acl.rows())
	require.Equal(t, st.acl.nextID, back.acl.nextID)
	require.True(t, back.acl.User([]byte("alice")).PasswordOK([]byte("pw")))
	require.False(t, back.acl.User([]byte("alice")).PasswordOK([]byte("pW")))
	require.Equal(t, st.encode(), back.encode())
}

func FuzzACLRules(f *testing.F) {
	for _, s := range []string{"on >p ~a +@all", "%RW~x (+get ~y) -config|set", "%", "(", "+|", "%R", "-|a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := newUser("u", 1, false)
		if u.applyAll(splitRules(text)) != "" {
			return
		}
		// What was accepted can be shown and read again with the same meaning.
		again := newUser("u", 1, false)
		require.Empty(t, again.applyAll(splitRules(u.rules(true))), u.rules(true))
		require.Equal(t, u.rules(true), again.rules(true))
	})
}
