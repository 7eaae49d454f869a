/* One input of a fuzzer: which function is called, with which arguments, and what the answer is.
 *
 * Byte 0 is the function, byte 1 how the carrier behaves, byte 2 how many of the next bytes the arguments are drawn
 * from; the rest is the answer.  Whatever it says, nothing is read or written outside of the arguments' buffers, each
 * of which is allocated with its exact size. */

#define CK_PTR *
#define CK_DEFINE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#define NULL_PTR 0
#define CK_PKCS11_2_0_ONLY 1
#include "oasis/pkcs11.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef long (*exchange)(const unsigned char *request, unsigned long length, unsigned char *answer,
                         unsigned long room);
void hsmcluster_carry(exchange function);

enum { FUNCTIONS = 68, MOST = 8, BUFFERS = 256 };
enum { SAME_CALL = 1, TOO_LONG = 2, NEGATIVE = 4, NOTHING = 8, WRITES_ALL = 16, SPELLED = 32 };

static const char *const ARGUMENTS[FUNCTIONS][MOST] = {
#include "arguments.inc"
};

static const CK_MECHANISM_TYPE MECHANISMS[] = {0x9, 0x1087, 0x80001087UL, 0x1050, 0x1054, 0x80000001UL, 0x3AC, 0x1085};

static const uint8_t *drawn, *drawn_end, *answer;
static size_t answer_size;
static uint8_t behaviour;
static volatile uint8_t read_so_far;  /* the frame is initialised to its end: a sanitizer would tell */
static void *buffers[BUFFERS];
static int used;

static long friendly(const unsigned char *request, unsigned long length, unsigned char *there, unsigned long room)
{
    (void)length, (void)room;
    memset(there, 0, 16);
    memcpy(there, request, 4);
    return 16;
}

/* An answer is made of numbers of eight bytes, of which chance seldom hits one.  Spelled, a byte is a number, 0xEF that
 * of all ones; one from 0xF0 on says how many bytes follow as they are. */
static size_t spelled(unsigned char *there, size_t room)
{
    const uint8_t *from = answer, *end = answer + answer_size;
    size_t made = 0;
    while (from < end && room - made >= 8) {
        unsigned first = *from++;
        size_t size = first < 0xF0 ? 8 : first - 0xF0;
        if (first < 0xF0) {
            memset(there + made, first == 0xEF ? 0xFF : 0, 8);
            if (first != 0xEF)
                there[made] = (unsigned char)first;
        } else {
            if (size > (size_t)(end - from))
                size = (size_t)(end - from);
            if (size > room - made)
                size = room - made;
            memcpy(there + made, from, size);
            from += size;
        }
        made += size;
    }
    return made;
}

static long hostile(const unsigned char *request, unsigned long length, unsigned char *there, unsigned long room)
{
    for (unsigned long i = 0; i < length; i++)
        read_so_far ^= request[i];
    if (behaviour & WRITES_ALL)
        memset(there, 0xA5, room);
    size_t size = answer_size < room ? answer_size : room;
    if ((behaviour & SPELLED) && room >= 8) {
        memset(there, 0, 8);
        size = 8 + spelled(there + 8, room - 8);
    } else if (size > 0) {
        memcpy(there, answer, size);
    }
    if ((behaviour & SAME_CALL) && size >= 4)
        memcpy(there, request, 4);
    if (behaviour & TOO_LONG)
        return (long)room + 1;
    if (behaviour & NEGATIVE)
        return -(long)size;
    return behaviour & NOTHING ? 0 : (long)size;
}

static unsigned next(void)
{
    return drawn < drawn_end ? *drawn++ : 0;
}

/* A number, most often a small one. */
static CK_ULONG number(void)
{
    unsigned first = next();
    return first == 255 ? (CK_ULONG)-1 : first == 254 ? (CK_ULONG)next() << 56 : first;
}

static void *buffer(size_t size)
{
    if (used == BUFFERS)
        return NULL;
    void *made = malloc(size ? size : 1);
    if (made != NULL)
        memset(made, (int)next(), size);
    return buffers[used++] = made;
}

/* Bytes: NULL with some length, or so many.  One that is there has no wrong length: that is the caller's promise. */
static void *bytes(CK_ULONG *length)
{
    if (next() % 4 == 0) {
        *length = number();
        return NULL;
    }
    *length = next() * (next() % 8 == 7 ? 64UL : 1UL);
    void *made = buffer(*length);
    if (made == NULL)
        *length = 0;
    return made;
}

static void *attributes(CK_ULONG *count, int depth)
{
    if (next() % 8 == 7) {
        *count = number();
        return NULL;
    }
    *count = next() % 6;
    CK_ATTRIBUTE *made = buffer(*count * sizeof *made);
    if (made == NULL) {
        *count = 0;
        return NULL;
    }
    for (CK_ULONG i = 0; i < *count; i++) {
        made[i].type = next() | (next() % 4 == 3 ? CKF_ARRAY_ATTRIBUTE : 0);
        CK_ULONG length;
        if ((made[i].type & CKF_ARRAY_ATTRIBUTE) && depth < 3) {
            made[i].pValue = attributes(&length, depth + 1);
            made[i].ulValueLen = length * (made[i].pValue ? sizeof *made : 1);
        } else {
            made[i].pValue = bytes(&length);
            made[i].ulValueLen = length;
        }
    }
    return made;
}

static void *oaep(void)
{
    CK_RSA_PKCS_OAEP_PARAMS *made = buffer(sizeof *made);
    if (made != NULL)
        made->pSourceData = bytes(&made->ulSourceDataLen);
    return made;
}

static void *parameter(CK_MECHANISM_TYPE type, CK_ULONG *size)
{
    void *made = NULL;
    if (type == 0x9) {
        *size = sizeof(CK_RSA_PKCS_OAEP_PARAMS);
        made = oaep();
    } else if ((type == 0x1087 || type == 0x80001087UL) && next() % 4 == 3) {
        CK_ULONG *printed = made = buffer(*size = 5 * sizeof *printed);  /* as in v2.40 before its errata */
        if (printed != NULL) {
            printed[0] = (CK_ULONG)bytes(&printed[1]);
            printed[2] = (CK_ULONG)bytes(&printed[3]);
        }
    } else if (type == 0x1087 || type == 0x80001087UL) {
        CK_GCM_PARAMS *gcm = made = buffer(*size = sizeof *gcm);
        if (gcm != NULL) {
            gcm->pIv = bytes(&gcm->ulIvLen);
            gcm->pAAD = bytes(&gcm->ulAADLen);
        }
    } else if (type == 0x1050) {
        CK_ECDH1_DERIVE_PARAMS *ecdh = made = buffer(*size = sizeof *ecdh);
        if (ecdh != NULL) {
            ecdh->pSharedData = bytes(&ecdh->ulSharedDataLen);
            ecdh->pPublicData = bytes(&ecdh->ulPublicDataLen);
        }
    } else if (type == 0x1054) {
        CK_RSA_AES_KEY_WRAP_PARAMS *wrap = made = buffer(*size = sizeof *wrap);
        if (wrap != NULL)
            wrap->pOAEPParams = next() % 4 ? oaep() : NULL;
    } else if (type == 0x80000001UL || type == 0x3AC) {
        CK_SP800_108_KDF_PARAMS *kdf = made = buffer(*size = sizeof *kdf);
        if (kdf != NULL) {
            kdf->ulNumberOfDataParams = next() % 5;
            CK_PRF_DATA_PARAM *data = kdf->pDataParams = buffer(kdf->ulNumberOfDataParams * sizeof *data);
            for (CK_ULONG i = 0; data != NULL && i < kdf->ulNumberOfDataParams; i++)
                data[i].pValue = bytes(&data[i].ulValueLen);
            if (next() % 8 == 7) {
                kdf->pDataParams = NULL;
                kdf->ulNumberOfDataParams = number();
            }
        }
    } else {
        made = bytes(size);
    }
    return made;
}

static void *mechanism(void)
{
    if (next() % 8 == 7)
        return NULL;
    CK_MECHANISM *made = buffer(sizeof *made);
    if (made == NULL)
        return NULL;
    made->mechanism = MECHANISMS[next() % 8];
    if (next() % 8 == 7) {
        made->pParameter = bytes(&made->ulParameterLen);
        /* Never the size of a struct: its pointers would lead anywhere. */
        if (made->pParameter != NULL && made->ulParameterLen % 8 == 0 && made->ulParameterLen > 0)
            made->ulParameterLen--;
    } else {
        made->pParameter = parameter(made->mechanism, &made->ulParameterLen);
    }
    return made;
}

/* Room for a number of things of a size, and the place of their count. */
static int outputs(unsigned long *into, size_t each, int count_last)
{
    CK_ULONG count = next(), *place = next() % 8 == 7 ? NULL : buffer(sizeof *place);
    void *there = next() % 4 == 3 ? NULL : buffer(count * each);
    if (place != NULL)
        *place = there == NULL ? number() : count;
    into[0] = (unsigned long)there;
    if (count_last) {
        into[1] = there == NULL ? number() : count;
        into[2] = (unsigned long)place;
        return 3;
    }
    into[1] = (unsigned long)place;
    return 2;
}

static int argument(const char *kind, unsigned long *into)
{
    CK_ULONG length = 0;
    if (!strcmp(kind, "ulong") || !strcmp(kind, "flag")) {
        into[0] = !strcmp(kind, "flag") ? next() : number();
    } else if (!strcmp(kind, "mechanism")) {
        into[0] = (unsigned long)mechanism();
    } else if (!strcmp(kind, "bytes") || !strcmp(kind, "fill")) {
        into[0] = (unsigned long)bytes(&length);
        into[1] = length;
        return 2;
    } else if (!strcmp(kind, "template") || !strcmp(kind, "attributes")) {
        into[0] = (unsigned long)attributes(&length, 0);
        into[1] = length;
        return 2;
    } else if (!strcmp(kind, "output")) {
        return outputs(into, 1, 0);
    } else if (!strcmp(kind, "list")) {
        return outputs(into, sizeof(CK_ULONG), 0);
    } else if (!strcmp(kind, "found")) {
        return outputs(into, sizeof(CK_ULONG), 1);
    } else {
        size_t size = !strcmp(kind, "start")               ? sizeof(CK_C_INITIALIZE_ARGS)
                      : !strcmp(kind, "CK_INFO")           ? sizeof(CK_INFO)
                      : !strcmp(kind, "CK_SLOT_INFO")      ? sizeof(CK_SLOT_INFO)
                      : !strcmp(kind, "CK_TOKEN_INFO")     ? sizeof(CK_TOKEN_INFO)
                      : !strcmp(kind, "CK_SESSION_INFO")   ? sizeof(CK_SESSION_INFO)
                      : !strcmp(kind, "CK_MECHANISM_INFO") ? sizeof(CK_MECHANISM_INFO)
                                                           : sizeof(CK_ULONG);
        into[0] = next() % 4 == 3 ? 0 : (unsigned long)buffer(size);
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    typedef CK_RV (*any)(unsigned long, unsigned long, unsigned long, unsigned long, unsigned long, unsigned long,
                         unsigned long, unsigned long);
    unsigned long a[MOST + 2] = {0};
    CK_FUNCTION_LIST_PTR list;
    any function;
    int count = 0;
    if (size < 3)
        return 0;
    hsmcluster_carry(friendly);
    if (C_GetFunctionList(&list) != CKR_OK)
        abort();
    list->C_Initialize(NULL);
    hsmcluster_carry(hostile);

    int number = data[0] % FUNCTIONS;
    size_t given = data[2] < size - 3 ? data[2] : size - 3;
    behaviour = data[1];
    drawn = data + 3;
    drawn_end = answer = drawn + given;
    answer_size = size - 3 - given;
    for (int i = 0; i < MOST && ARGUMENTS[number][i] != NULL; i++)
        count += argument(ARGUMENTS[number][i], &a[count]);
    memcpy(&function, (const unsigned char *)list + offsetof(CK_FUNCTION_LIST, C_Initialize) + number * sizeof function,
           sizeof function);
    function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    while (used > 0)
        free(buffers[--used]);
    return 0;
}
