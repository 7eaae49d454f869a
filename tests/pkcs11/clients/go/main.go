// An application that knows nothing of the cluster: it is told on standard input what to do, and says what came of it.
//
// Its arguments are the path of a PKCS#11 library and, if wanted, "read-only" for sessions without CKF_RW_SESSION, or
// "own-thread" for a login on a thread that ends. The first line of the input is the PIN. Each further line is a
// command, and each gets one line: "ok ..." or "error ...".
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

const attempts = 5

type program struct {
	module  *pkcs11.Ctx
	slot    uint
	flags   uint
	session pkcs11.SessionHandle
	pin     string
}

// The thread that a program starts on never ends: a goroutine that ends its thread needs another one.
func init() { runtime.LockOSThread() }

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	pin := lines.Text()
	options := strings.Join(os.Args[2:], " ")
	one := &program{pin: pin, module: pkcs11.New(os.Args[1]), flags: pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION}
	if strings.Contains(options, "read-only") {
		one.flags = pkcs11.CKF_SERIAL_SESSION
	}
	if one.module == nil {
		fmt.Println("error no library at", os.Args[1])
		return
	}
	begun := make(chan error)
	go func() {
		if strings.Contains(options, "own-thread") {
			runtime.LockOSThread() // and never unlocks: the thread ends with this function
		}
		begun <- one.begin()
	}()
	say("logged in", <-begun)
	for lines.Scan() {
		say(one.answer(strings.Split(lines.Text(), " ")))
	}
	one.module.Finalize()
}

func say(answer string, err error) {
	if err != nil {
		fmt.Println("error", err)
	} else {
		fmt.Println(strings.TrimSpace("ok " + answer))
	}
}

func (p *program) begin() error {
	if err := p.module.Initialize(); err != nil { // miekg/pkcs11 passes CKF_OS_LOCKING_OK
		return err
	}
	slots, err := p.module.GetSlotList(true)
	if err != nil {
		return err
	}
	p.slot = slots[0]
	if p.session, err = p.module.OpenSession(p.slot, p.flags); err != nil {
		return err
	}
	return p.module.Login(p.session, pkcs11.CKU_USER, p.pin)
}

func (p *program) answer(words []string) (string, error) {
	word := func(number int) string {
		if number < len(words) {
			return words[number]
		}
		return ""
	}
	name := word(1)
	switch words[0] {
	case "generate", "generate-session-key":
		_, err := p.module.GenerateKey(p.session, mechanism(pkcs11.CKM_AES_KEY_GEN), append(use(
			pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, name),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, words[0] == "generate"),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32)))
		return "", err
	case "pair":
		return "", p.pair(name, word(2))
	case "login":
		return "", p.module.Login(p.session, pkcs11.CKU_USER, p.pin)
	case "find":
		found, err := p.find(p.session, name)
		return strconv.Itoa(len(found)), err
	case "sign":
		return p.sign(p.session, name, word(2), unhex(word(3)))
	case "sign-patiently":
		return patiently(func() (string, error) { return p.sign(p.session, name, word(2), unhex(word(3))) })
	case "verify":
		return "", p.verify(name, word(2), unhex(word(3)), unhex(word(4)))
	case "encrypt":
		return p.encrypt(name, unhex(word(2)), make([]byte, 12))
	case "encrypt-with-iv":
		return p.encrypt(name, unhex(word(2)), unhex(word(3)))
	case "decrypt":
		return p.decrypt(name, unhex(word(2)), unhex(word(3)))
	case "wrap":
		return p.wrap(name, word(2))
	case "unwrap":
		return "", p.unwrap(name, word(2), unhex(word(3)))
	case "delete":
		key, err := p.key(p.session, name, 0)
		if err != nil {
			return "", err
		}
		return "", p.module.DestroyObject(p.session, key)
	case "goroutines":
		count, _ := strconv.Atoi(word(2))
		rounds, _ := strconv.Atoi(word(3))
		return p.goroutines(name, count, rounds)
	}
	return "", fmt.Errorf("no command %s", words[0])
}

func unhex(text string) []byte {
	bytes, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return bytes
}

func use(attributes ...uint) []*pkcs11.Attribute {
	var all []*pkcs11.Attribute
	for _, one := range attributes {
		all = append(all, pkcs11.NewAttribute(one, true))
	}
	return all
}

// patiently tries a few times: a key that is not on the HSM that was asked may be on the next.
func patiently(attempt func() (string, error)) (string, error) {
	var err error
	for number := 1; number <= attempts; number++ {
		var answer string
		if answer, err = attempt(); err == nil {
			return fmt.Sprintf("%s attempts=%d", answer, number), nil
		}
	}
	return "", err
}

// goroutines has many of them sign at the same time, each in a session of its own; all signatures are listed.
func (p *program) goroutines(name string, count, rounds int) (string, error) {
	var all sync.WaitGroup
	made, failed := make([][]string, count), make([]error, count)
	for number := 0; number < count; number++ {
		all.Add(1)
		go func(own int) {
			defer all.Done()
			session, err := p.module.OpenSession(p.slot, p.flags)
			for round := 0; round < rounds && err == nil; round++ {
				data := []byte(fmt.Sprintf("goroutine %d round %d", own, round))
				var signature string
				if signature, err = p.sign(session, name, "ECDSA_SHA256", data); err == nil {
					made[own] = append(made[own], hex.EncodeToString(data)+":"+signature)
				}
			}
			if err == nil {
				err = p.module.CloseSession(session)
			}
			failed[own] = err
		}(number)
	}
	all.Wait()
	var listed []string
	for number := range made {
		if failed[number] != nil {
			return "", failed[number]
		}
		listed = append(listed, made[number]...)
	}
	return strings.Join(listed, " "), nil
}
