import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.Provider;
import java.security.PublicKey;
import java.security.Security;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * An application that knows nothing of the cluster: it is told on standard input what to do, and says what came of it.
 *
 * <p>Its argument is a configuration of SunPKCS11; the first line of the input is the PIN. Each further line is a
 * command, and each gets one line: {@code ok ...} or {@code error ...} with the messages of the exception and of its causes.
 */
public final class HsmProgram {
    private static final HexFormat HEX = HexFormat.of();
    private static final int ATTEMPTS = 5;

    private final Provider provider;
    private final KeyStore store;
    private final char[] pin;
    private final Map<String, KeyPair> pairs = new HashMap<>();
    private final Map<String, SecretKey> secrets = new HashMap<>();

    private HsmProgram(String configuration, char[] pin) throws Exception {
        this.pin = pin;
        provider = Security.getProvider("SunPKCS11").configure(configuration);
        Security.addProvider(provider);
        store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, pin);
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        char[] pin = input.readLine().toCharArray();
        HsmProgram program;
        try {
            program = new HsmProgram(arguments[0], pin);
            System.out.println("ok logged in");
        } catch (Exception error) {
            System.out.println("error " + said(error));
            return;
        }
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            try {
                System.out.println(("ok " + program.answer(words)).strip());
            } catch (Exception error) {
                System.out.println("error " + said(error));
            }
        }
    }

    /** What an exception and its causes say, in one line. */
    private static String said(Throwable error) {
        StringBuilder all = new StringBuilder();
        for (Throwable one = error; one != null; one = one.getCause()) {
            all.append(all.length() > 0 ? " <- " : "").append(one.getClass().getSimpleName()).append(": ");
            all.append(String.valueOf(one.getMessage()).replace('\n', ' '));
        }
        return all.toString();
    }

    private String answer(String[] words) throws Exception {
        String name = words.length > 1 ? words[1] : "";
        switch (words[0]) {
            case "aliases":
                List<String> aliases = Collections.list(store.aliases());
                Collections.sort(aliases);
                return String.join(" ", aliases);
            case "reload": // logs in again if need be
                store.load(null, pin);
                return "";
            case "generate":
                KeyGenerator generator = KeyGenerator.getInstance("AES", provider);
                generator.init(256);
                secrets.put(name, generator.generateKey());
                return "";
            case "import":
                SecretKey brought = new SecretKeySpec(HEX.parseHex(words[2]), "AES");
                store.setKeyEntry(name, brought, null, null);
                return "";
            case "keep": // a key that was generated becomes an entry of the key store
                store.setKeyEntry(name, secrets.get(name), null, null);
                return "";
            case "pair":
                KeyPairGenerator pair = KeyPairGenerator.getInstance(words[2], provider);
                if (words[2].equals("EC")) {
                    pair.initialize(new ECGenParameterSpec(words[3]));
                } else {
                    pair.initialize(Integer.parseInt(words[3]));
                }
                pairs.put(name, pair.generateKeyPair());
                return HEX.formatHex(pairs.get(name).getPublic().getEncoded());
            case "sign":
                return HEX.formatHex(signature(name, words[2], HEX.parseHex(words[3])));
            case "sign-patiently":
                return patiently(() -> HEX.formatHex(signature(name, words[2], HEX.parseHex(words[3]))));
            case "verify":
                Signature verifying = Signature.getInstance(words[2], provider);
                verifying.initVerify(pairs.get(name).getPublic());
                verifying.update(HEX.parseHex(words[3]));
                return String.valueOf(verifying.verify(HEX.parseHex(words[4])));
            case "encrypt":
                return encrypted(name, words[2], HEX.parseHex(words[3]));
            case "encrypt-with-iv":
                Cipher cipher = Cipher.getInstance(words[2], provider);
                cipher.init(Cipher.ENCRYPT_MODE, secret(name), new GCMParameterSpec(128, HEX.parseHex(words[4])));
                byte[] output = cipher.doFinal(HEX.parseHex(words[3]));
                return HEX.formatHex(cipher.getIV()) + " " + HEX.formatHex(output);
            case "encrypt-patiently":
                return patiently(() -> encrypted(name, words[2], HEX.parseHex(words[3])));
            case "decrypt":
                return HEX.formatHex(decrypted(name, words[2], HEX.parseHex(words[3]), HEX.parseHex(words[4])));
            case "wrap":
                Cipher wrapping = Cipher.getInstance(words[3], provider);
                wrapping.init(Cipher.WRAP_MODE, secret(words[2]));
                return HEX.formatHex(wrapping.wrap(secret(name)));
            case "wrap-for": // somebody else, whose public key is known
                Cipher closing = Cipher.getInstance(words[3], provider);
                closing.init(Cipher.WRAP_MODE, publicKey(words[2]));
                return HEX.formatHex(closing.wrap(secret(name)));
            case "unwrap":
                Cipher unwrapping = Cipher.getInstance(words[3], provider);
                KeyPair own = pairs.get(words[2]);
                unwrapping.init(Cipher.UNWRAP_MODE, own != null ? own.getPrivate() : secret(words[2]));
                secrets.put(name, (SecretKey) unwrapping.unwrap(HEX.parseHex(words[4]), "AES", Cipher.SECRET_KEY));
                return "";
            case "delete":
                store.deleteEntry(name);
                return "";
            case "threads":
                return threads(name, Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            default:
                throw new IllegalArgumentException("no command " + words[0]);
        }
    }

    private SecretKey secret(String name) throws Exception {
        SecretKey made = secrets.get(name);
        SecretKey found = made != null ? made : (SecretKey) store.getKey(name, null);
        if (found == null) {
            throw new IllegalStateException("no key " + name);
        }
        return found;
    }

    private static PublicKey publicKey(String encoded) throws Exception {
        return KeyFactory.getInstance("RSA").generatePublic(new X509EncodedKeySpec(HEX.parseHex(encoded)));
    }

    private byte[] signature(String name, String algorithm, byte[] data) throws Exception {
        Signature signing = Signature.getInstance(algorithm, provider);
        signing.initSign(pairs.get(name).getPrivate());
        signing.update(data);
        return signing.sign();
    }

    private String encrypted(String name, String transformation, byte[] data) throws Exception {
        Cipher cipher = Cipher.getInstance(transformation, provider);
        cipher.init(Cipher.ENCRYPT_MODE, secret(name));
        byte[] output = cipher.doFinal(data);
        return HEX.formatHex(cipher.getIV()) + " " + HEX.formatHex(output);
    }

    private byte[] decrypted(String name, String transformation, byte[] iv, byte[] data) throws Exception {
        Cipher cipher = Cipher.getInstance(transformation, provider);
        if (transformation.contains("GCM")) {
            cipher.init(Cipher.DECRYPT_MODE, secret(name), new GCMParameterSpec(128, iv));
        } else {
            cipher.init(Cipher.DECRYPT_MODE, secret(name), new IvParameterSpec(iv));
        }
        return cipher.doFinal(data);
    }

    private interface Attempt {
        String make() throws Exception;
    }

    /** Try a few times: a key that is not on the HSM that was asked may be on the next. */
    private static String patiently(Attempt attempt) throws Exception {
        Exception last = null;
        for (int number = 1; number <= ATTEMPTS; number++) {
            try {
                return attempt.make() + " attempts=" + number;
            } catch (Exception error) {
                last = error;
            }
        }
        throw last;
    }

    /** Have many threads sign at the same time; each signature is verified by the provider and listed. */
    private String threads(String name, int count, int rounds) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(count);
        try {
            List<Future<List<String>>> running = new ArrayList<>();
            for (int thread = 0; thread < count; thread++) {
                final int own = thread;
                running.add(pool.submit(() -> {
                    List<String> made = new ArrayList<>();
                    for (int round = 0; round < rounds; round++) {
                        byte[] data = ("thread " + own + " round " + round).getBytes(StandardCharsets.UTF_8);
                        made.add(HEX.formatHex(data) + ":" + HEX.formatHex(signature(name, "SHA256withECDSA", data)));
                    }
                    return made;
                }));
            }
            List<String> all = new ArrayList<>();
            for (Future<List<String>> one : running) {
                all.addAll(one.get());
            }
            return String.join(" ", all);
        } finally {
            pool.shutdown();
        }
    }
}
