package main

import (
	"encoding/hex"
	"fmt"

	"github.com/miekg/pkcs11"
)

const rfc3394 = 0x80002109 // CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, of CloudHSM's own header

// p256 is the object identifier of the curve, as CKA_EC_PARAMS has it.
var p256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

var mechanisms = map[string]uint{
	"ECDSA_SHA256":    pkcs11.CKM_ECDSA_SHA256,
	"SHA256_RSA_PKCS": pkcs11.CKM_SHA256_RSA_PKCS,
}

func mechanism(number uint) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(number, nil)}
}

func (p *program) pair(name, kind string) error {
	label := pkcs11.NewAttribute(pkcs11.CKA_LABEL, name)
	public := append(use(pkcs11.CKA_TOKEN, pkcs11.CKA_VERIFY), label)
	private := append(use(pkcs11.CKA_TOKEN, pkcs11.CKA_SIGN, pkcs11.CKA_SENSITIVE), label)
	made := uint(pkcs11.CKM_EC_KEY_PAIR_GEN)
	if kind == "RSA" {
		made = pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	} else {
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256))
	}
	_, _, err := p.module.GenerateKeyPair(p.session, mechanism(made), public, private)
	return err
}

// find returns the objects with a label; a class of 0 is any.
func (p *program) find(session pkcs11.SessionHandle, name string, class ...uint) ([]pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, name)}
	if len(class) > 0 && class[0] != 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class[0]))
	}
	if err := p.module.FindObjectsInit(session, template); err != nil {
		return nil, err
	}
	found, _, err := p.module.FindObjects(session, 100)
	if final := p.module.FindObjectsFinal(session); err == nil {
		err = final
	}
	return found, err
}

func (p *program) key(session pkcs11.SessionHandle, name string, class uint) (pkcs11.ObjectHandle, error) {
	found, err := p.find(session, name, class)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no key %s", name)
	}
	if err != nil {
		return 0, err
	}
	return found[0], nil
}

func (p *program) sign(session pkcs11.SessionHandle, name, how string, data []byte) (string, error) {
	key, err := p.key(session, name, pkcs11.CKO_PRIVATE_KEY)
	if err != nil {
		return "", err
	}
	if err := p.module.SignInit(session, mechanism(mechanisms[how]), key); err != nil {
		return "", err
	}
	signature, err := p.module.Sign(session, data)
	return hex.EncodeToString(signature), err
}

func (p *program) verify(name, how string, data, signature []byte) error {
	key, err := p.key(p.session, name, pkcs11.CKO_PUBLIC_KEY)
	if err != nil {
		return err
	}
	if err := p.module.VerifyInit(p.session, mechanism(mechanisms[how]), key); err != nil {
		return err
	}
	return p.module.Verify(p.session, data, signature)
}

// encrypt hands a zeroed buffer over: the HSM makes the IV and writes it there.
func (p *program) encrypt(name string, data, iv []byte) (string, error) {
	key, err := p.key(p.session, name, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return "", err
	}
	params := pkcs11.NewGCMParams(iv, nil, 128)
	defer params.Free()
	gcm := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
	if err := p.module.EncryptInit(p.session, gcm, key); err != nil {
		return "", err
	}
	output, err := p.module.Encrypt(p.session, data)
	return hex.EncodeToString(params.IV()) + " " + hex.EncodeToString(output), err
}

func (p *program) decrypt(name string, iv, data []byte) (string, error) {
	key, err := p.key(p.session, name, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return "", err
	}
	params := pkcs11.NewGCMParams(iv, nil, 128)
	defer params.Free()
	gcm := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
	if err := p.module.DecryptInit(p.session, gcm, key); err != nil {
		return "", err
	}
	output, err := p.module.Decrypt(p.session, data)
	return hex.EncodeToString(output), err
}

func (p *program) wrap(name, by string) (string, error) {
	wrapping, err := p.key(p.session, by, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return "", err
	}
	wrapped, err := p.key(p.session, name, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return "", err
	}
	blob, err := p.module.WrapKey(p.session, mechanism(rfc3394), wrapping, wrapped)
	return hex.EncodeToString(blob), err
}

func (p *program) unwrap(name, by string, blob []byte) error {
	unwrapping, err := p.key(p.session, by, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return err
	}
	_, err = p.module.UnwrapKey(p.session, mechanism(rfc3394), unwrapping, blob, append(use(
		pkcs11.CKA_TOKEN, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT),
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, name)))
	return err
}
