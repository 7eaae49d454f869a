/* The PKCS#11 library: it knows nothing of keys.
 *
 * Each function is a line in a generated table.  `call` walks that line twice: first it writes the arguments into a
 * frame, then, when somebody has carried the frame and brought an answer, it writes the answer to where the
 * arguments point.  No lock is held, and no function of the application's is called. */

#include "carrier.h"
#include "frame.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CK_PTR *
#define CK_DEFINE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION(type, name) __attribute__((visibility("default"))) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#define NULL_PTR NULL
#define CK_PKCS11_2_0_ONLY 1
#include "oasis/pkcs11.h"

struct field {
    size_t offset, size;  /* a size above 8 or of 2 is text or a version, otherwise it is a number */
};

static CK_RV call(uint16_t number, const unsigned char *takes, ...);

#include "functions.inc"

enum { MOST_ATTRIBUTES = 1024, MOST_DATA = 64, HEADER = 8, BESIDES = 1024 };
enum { BAD_SHAPE = 255 };
enum { NO_LENGTH, LENGTH_ONLY, BUFFER };

/* One argument, as far as an answer goes into it. */
struct place {
    enum kind kind;
    void *there;
    void *length;
    CK_ULONG room;
};

/* What a CK_VOID_PTR points to may stand anywhere: it is copied before it is looked into. */
static CK_ULONG number_at(const void *there)
{
    CK_ULONG number;
    memcpy(&number, there, sizeof number);
    return number;
}

static void set_number(void *there, uint64_t number)
{
    CK_ULONG written = (CK_ULONG)number;
    memcpy(there, &written, sizeof written);
}

static CK_ATTRIBUTE attribute_at(const void *attributes, CK_ULONG place)
{
    CK_ATTRIBUTE one;
    memcpy(&one, (const unsigned char *)attributes + place * sizeof one, sizeof one);
    return one;
}

/* -- from arguments to a frame ---------------------------------------------------------------------- */

static void put_oaep(struct writer *frame, const void *parameter)
{
    CK_RSA_PKCS_OAEP_PARAMS given;
    memcpy(&given, parameter, sizeof given);
    put_number(frame, given.hashAlg);
    put_number(frame, given.mgf);
    put_number(frame, given.source);
    put_bytes(frame, given.pSourceData, given.ulSourceDataLen);
}

static void put_ecdh(struct writer *frame, const void *parameter)
{
    CK_ECDH1_DERIVE_PARAMS given;
    memcpy(&given, parameter, sizeof given);
    put_number(frame, ECDH);
    put_number(frame, given.kdf);
    put_bytes(frame, given.pSharedData, given.ulSharedDataLen);
    put_bytes(frame, given.pPublicData, given.ulPublicDataLen);
}

static int put_rsa_aes(struct writer *frame, const void *parameter)
{
    CK_RSA_AES_KEY_WRAP_PARAMS given;
    memcpy(&given, parameter, sizeof given);
    if (given.pOAEPParams == NULL)
        return 0;
    put_number(frame, RSA_AES);
    put_number(frame, given.ulAESKeyBits);
    put_oaep(frame, given.pOAEPParams);
    return 1;
}

/* PKCS #11 v2.40 as first printed has no ulIvBits; its errata have. */
struct gcm_as_printed {
    CK_BYTE_PTR pIv;
    CK_ULONG ulIvLen;
    CK_BYTE_PTR pAAD;
    CK_ULONG ulAADLen;
    CK_ULONG ulTagBits;
};

static int put_gcm(struct writer *frame, const CK_MECHANISM *mechanism, struct place *place)
{
    CK_GCM_PARAMS given = {0};
    if (mechanism->ulParameterLen == sizeof given) {
        memcpy(&given, mechanism->pParameter, sizeof given);
    } else if (mechanism->ulParameterLen == sizeof(struct gcm_as_printed)) {
        struct gcm_as_printed printed;
        memcpy(&printed, mechanism->pParameter, sizeof printed);
        given.pIv = printed.pIv;
        given.ulIvLen = printed.ulIvLen;
        given.pAAD = printed.pAAD;
        given.ulAADLen = printed.ulAADLen;
        given.ulTagBits = printed.ulTagBits;
    } else {
        return 0;
    }
    put_number(frame, GCM);
    put_bytes(frame, given.pIv, given.ulIvLen);
    put_bytes(frame, given.pAAD, given.ulAADLen);
    put_number(frame, given.ulTagBits);
    if (given.pIv != NULL) {
        place->there = given.pIv;  /* the HSM makes the IV */
        place->room = given.ulIvLen;
    }
    return 1;
}

static int put_kdf(struct writer *frame, const void *parameter)
{
    CK_SP800_108_KDF_PARAMS given;
    memcpy(&given, parameter, sizeof given);
    if (given.ulNumberOfDataParams > MOST_DATA || (given.ulNumberOfDataParams > 0 && given.pDataParams == NULL))
        return 0;
    put_number(frame, KDF);
    put_number(frame, given.prfType);
    put_number(frame, given.ulAdditionalDerivedKeys);
    put_number(frame, given.ulNumberOfDataParams);
    for (CK_ULONG i = 0; i < given.ulNumberOfDataParams; i++) {
        CK_PRF_DATA_PARAM data;
        memcpy(&data, (const unsigned char *)given.pDataParams + i * sizeof data, sizeof data);
        put_number(frame, data.type);
        put_bytes(frame, data.pValue, data.ulValueLen);
    }
    return 1;
}

/* Write what the parameter of a mechanism points to; 0 if it is not what the mechanism takes. */
static int put_shaped(struct writer *frame, const CK_MECHANISM *mechanism, struct place *place)
{
    const void *given = mechanism->pParameter;
    CK_ULONG size = mechanism->ulParameterLen;
    enum shape shape = shape_of(mechanism->mechanism);
    if (shape == PLAIN || (given == NULL && size == 0)) {
        put_number(frame, PLAIN);
        put_bytes(frame, given, size);
        return 1;
    }
    if (given == NULL)
        return 0;
    if (shape == GCM)
        return put_gcm(frame, mechanism, place);
    if (shape == KDF && size == sizeof(CK_SP800_108_KDF_PARAMS))
        return put_kdf(frame, given);
    if (shape == RSA_AES && size == sizeof(CK_RSA_AES_KEY_WRAP_PARAMS))
        return put_rsa_aes(frame, given);
    if (shape == OAEP && size == sizeof(CK_RSA_PKCS_OAEP_PARAMS)) {
        put_number(frame, OAEP);
        put_oaep(frame, given);
        return 1;
    }
    if (shape == ECDH && size == sizeof(CK_ECDH1_DERIVE_PARAMS)) {
        put_ecdh(frame, given);
        return 1;
    }
    return 0;
}

static void put_mechanism(struct writer *frame, const void *pointer, struct place *place)
{
    CK_MECHANISM mechanism;
    put_number(frame, pointer != NULL);
    if (pointer == NULL)
        return;
    memcpy(&mechanism, pointer, sizeof mechanism);
    put_number(frame, mechanism.mechanism);
    if (!put_shaped(frame, &mechanism, place)) {
        put_number(frame, BAD_SHAPE);
        put_number(frame, mechanism.ulParameterLen);
    }
}

static void put_template(struct writer *frame, const void *attributes, CK_ULONG count, int depth)
{
    if (attributes == NULL && count > 0) {
        put_number(frame, ABSENT);
        return;
    }
    put_number(frame, count);
    if (count > MOST_ATTRIBUTES)
        frame->failed = 1;
    for (CK_ULONG i = 0; i < count && !frame->failed; i++) {
        CK_ATTRIBUTE one = attribute_at(attributes, i);
        put_number(frame, one.type);
        if ((one.type & CKF_ARRAY_ATTRIBUTE) && depth == 0 && one.ulValueLen % sizeof(CK_ATTRIBUTE) == 0)
            put_template(frame, one.pValue, one.ulValueLen / sizeof(CK_ATTRIBUTE), 1);
        else if (one.type & CKF_ARRAY_ATTRIBUTE)
            put_number(frame, ABSENT);
        else
            put_bytes(frame, one.pValue, one.ulValueLen);
    }
}

static void put_rooms(struct writer *frame, const void *attributes, CK_ULONG count)
{
    if (attributes == NULL && count > 0) {
        put_number(frame, ABSENT);
        return;
    }
    put_number(frame, count);
    if (count > MOST_ATTRIBUTES)
        frame->failed = 1;
    for (CK_ULONG i = 0; i < count && !frame->failed; i++) {
        CK_ATTRIBUTE one = attribute_at(attributes, i);
        put_number(frame, one.type);
        put_number(frame, one.pValue == NULL ? ABSENT : one.ulValueLen);
    }
}

static void put_room(struct writer *frame, const struct place *place)
{
    put_number(frame, place->length == NULL ? NO_LENGTH : place->there == NULL ? LENGTH_ONLY : BUFFER);
    put_number(frame, place->room);
}

static void put_start(struct writer *frame, const void *pointer)
{
    CK_C_INITIALIZE_ARGS given = {0};
    if (pointer != NULL)
        memcpy(&given, pointer, sizeof given);
    put_number(frame, pointer != NULL);
    put_number(frame, given.flags);
    put_number(frame, given.pReserved != NULL);
    put_number(frame, (given.CreateMutex != NULL) + (given.DestroyMutex != NULL) + (given.LockMutex != NULL) +
                          (given.UnlockMutex != NULL));
}

static void put_argument(struct writer *frame, enum kind kind, va_list *given, struct place *place)
{
    void *pointer;
    CK_ULONG count;
    place->kind = kind;
    switch (kind) {
    case ULONG_ARG:
        put_number(frame, va_arg(*given, CK_ULONG));
        break;
    case FLAG_ARG:
        put_number(frame, va_arg(*given, int) != 0);
        break;
    case NOTIFY_ARG:
        put_number(frame, va_arg(*given, CK_NOTIFY) != NULL);
        break;
    case START_ARG:
        put_start(frame, va_arg(*given, void *));
        break;
    case BYTES_ARG:
        pointer = va_arg(*given, CK_BYTE_PTR);
        put_bytes(frame, pointer, va_arg(*given, CK_ULONG));
        break;
    case MECHANISM_ARG:
        put_mechanism(frame, va_arg(*given, CK_MECHANISM_PTR), place);
        break;
    case TEMPLATE_ARG:
    case ATTRIBUTES_ARG:
        pointer = va_arg(*given, CK_ATTRIBUTE_PTR);
        count = va_arg(*given, CK_ULONG);
        place->there = pointer;
        place->room = count;
        if (kind == TEMPLATE_ARG)
            put_template(frame, pointer, count, 0);
        else
            put_rooms(frame, pointer, count);
        break;
    case OUTPUT_ARG:
    case LIST_ARG:
        place->there = kind == OUTPUT_ARG ? (void *)va_arg(*given, CK_BYTE_PTR) : (void *)va_arg(*given, CK_ULONG_PTR);
        place->length = va_arg(*given, CK_ULONG_PTR);
        /* Where only the length is asked for, what stands there means nothing: GnuTLS has not even written it. */
        place->room = place->there == NULL || place->length == NULL ? 0 : number_at(place->length);
        put_room(frame, place);
        break;
    case FILL_ARG:
        place->there = va_arg(*given, CK_BYTE_PTR);
        place->room = va_arg(*given, CK_ULONG);
        put_number(frame, place->there == NULL && place->room > 0 ? ABSENT : place->room);
        if (place->there != NULL && place->room > FRAME_LIMIT - BESIDES)
            frame->failed = 1;
        break;
    case FOUND_ARG:
        place->there = va_arg(*given, CK_ULONG_PTR);
        place->room = va_arg(*given, CK_ULONG);
        place->length = va_arg(*given, CK_ULONG_PTR);
        put_number(frame, place->there != NULL && place->length != NULL);
        put_number(frame, place->room);
        break;
    default:  /* a pointer: to a struct, to a number, or reserved */
        place->there = va_arg(*given, void *);
        put_number(frame, place->there != NULL);
    }
}

/* -- from an answer to the arguments ------------------------------------------------------------------- */

static void get_struct(struct reader *answer, const struct place *place)
{
    for (const struct field *field = fields_of(place->kind); field->size > 0; field++) {
        unsigned char *there = (unsigned char *)place->there + field->offset;
        if (field->size == sizeof(CK_ULONG)) {
            set_number(there, get_number(answer));
        } else {
            const unsigned char *bytes = get(answer, field->size);
            if (bytes != NULL)
                memcpy(there, bytes, field->size);
        }
    }
}

/* Whether so many may be written, and what is said of them is true: who asked will believe the length. */
static int fits(const struct place *place, CK_RV result, uint64_t told, uint64_t written)
{
    if (place->there == NULL)
        return written == 0;
    return written <= place->room && (result != CKR_OK || told == written);
}

static void get_attributes(struct reader *answer, const struct place *place)
{
    if (get_number(answer) != place->room || (place->there == NULL && place->room > 0))
        answer->failed = 1;
    for (CK_ULONG i = 0; i < place->room && !answer->failed; i++) {
        CK_ATTRIBUTE one = attribute_at(place->there, i);
        struct place value = {ATTRIBUTES_ARG, one.pValue, NULL, one.ulValueLen};
        uint64_t told = get_number(answer), length;
        const unsigned char *bytes = get_bytes(answer, &length);
        if (!fits(&value, told == ABSENT ? CKR_ATTRIBUTE_SENSITIVE : CKR_OK, told, length))
            answer->failed = 1;
        if (answer->failed)
            return;
        if (length > 0)
            memcpy(one.pValue, bytes, (size_t)length);
        set_number((unsigned char *)place->there + i * sizeof one + offsetof(CK_ATTRIBUTE, ulValueLen), told);
    }
}

static void get_output(struct reader *answer, const struct place *place, CK_RV result)
{
    uint64_t told = get_number(answer), length;
    const unsigned char *bytes = get_bytes(answer, &length);
    if (!fits(place, result, told, length))
        answer->failed = 1;
    if (answer->failed)
        return;
    if (length > 0)
        memcpy(place->there, bytes, (size_t)length);
    if (told != ABSENT && place->length != NULL)
        set_number(place->length, told);
}

static void get_numbers(struct reader *answer, const struct place *place, CK_RV result)
{
    uint64_t told = get_number(answer), count = get_number(answer);
    if (!fits(place, result, told, count))
        answer->failed = 1;
    for (uint64_t i = 0; i < count && !answer->failed; i++) {
        uint64_t number = get_number(answer);
        if (!answer->failed)
            set_number((unsigned char *)place->there + i * sizeof(CK_ULONG), number);
    }
    if (!answer->failed && told != ABSENT && place->length != NULL)
        set_number(place->length, told);
}

static void get_result(struct reader *answer, const struct place *place, CK_RV result)
{
    uint64_t number, length;
    const unsigned char *bytes;
    switch (place->kind) {
    case MECHANISM_ARG:
    case FILL_ARG:
        bytes = get_bytes(answer, &length);
        if (length > 0 && (place->there == NULL || length > place->room))
            answer->failed = 1;
        else if (length > 0)
            memcpy(place->there, bytes, (size_t)length);
        break;
    case ATTRIBUTES_ARG:
        get_attributes(answer, place);
        break;
    case OUTPUT_ARG:
        get_output(answer, place, result);
        break;
    case LIST_ARG:
    case FOUND_ARG:
        get_numbers(answer, place, result);
        break;
    case NUMBER_ARG:
        number = get_number(answer);
        if (!answer->failed && place->there != NULL)
            set_number(place->there, number);
        else
            answer->failed = 1;
        break;
    default:
        if (fields_of(place->kind) != NULL) {
            if (place->there == NULL)
                answer->failed = 1;
            else
                get_struct(answer, place);
        }
    }
}

/* Return how long an answer may be: as long as all that it can be written to, and what stands between. */
static size_t room_for(const struct place *places, int count)
{
    size_t room = BESIDES;
    for (int i = 0; i < count; i++) {
        size_t each = places[i].kind == LIST_ARG || places[i].kind == FOUND_ARG ? 8 : 1;
        size_t most = places[i].there == NULL ? 0 : places[i].room;
        if (places[i].kind == ATTRIBUTES_ARG || most > FRAME_LIMIT / each)
            return FRAME_LIMIT;
        room += most * each;
    }
    return room < FRAME_LIMIT ? room : FRAME_LIMIT;
}

static CK_RV understood(struct reader *answer, uint32_t sequence, const struct place *places, int count)
{
    const unsigned char *echo = get(answer, HEADER);
    CK_RV result = (CK_RV)get_number(answer);
    if (answer->failed ||
        (echo[0] | (uint32_t)echo[1] << 8 | (uint32_t)echo[2] << 16 | (uint32_t)echo[3] << 24) != sequence)
        return CKR_GENERAL_ERROR;
    /* Only a failure may leave out what else there is to say: then nothing is written. */
    int whole = result == CKR_OK || answer->at < answer->end;
    for (int i = 0; i < count && !answer->failed && whole; i++)
        get_result(answer, &places[i], result);
    return answer->failed || answer->at != answer->end ? CKR_GENERAL_ERROR : result;
}

static CK_RV exchanged(const struct writer *request, uint32_t sequence, const struct place *places, int count)
{
    unsigned char own[4096], *bytes = own;
    size_t room = room_for(places, count);
    if (room > sizeof own && (bytes = malloc(room)) == NULL)
        return CKR_HOST_MEMORY;
    CK_RV result = CKR_GENERAL_ERROR;
    long length = carry(request->bytes, request->length, bytes, room);
    size_t written = room;  /* by somebody who has failed: perhaps all */
    if (length > 0 && (unsigned long)length <= room) {
        struct reader answer = {bytes, bytes + length, 0};
        result = understood(&answer, sequence, places, count);
        written = (size_t)length;
    }
    volatile unsigned char *wiped = bytes;  /* it may have been a plaintext */
    for (size_t i = 0; i < written; i++)
        wiped[i] = 0;
    if (bytes != own)
        free(bytes);
    return result;
}

/* -- one call --------------------------------------------------------------------------------------------- */

enum { INITIALIZE = 1, FINALIZE = 2, CLOSE_SESSION = 14 };

/* Return what the library answers alone, or CKR_OK if somebody is to be asked. */
static CK_RV alone(uint16_t number)
{
    if (number != INITIALIZE)
        return started() ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
    if (!started())
        remember_socket();
    return carrier() == NOBODY || carrier() == GONE ? CKR_GENERAL_ERROR : CKR_OK;
}

/* Take note of what an answer means for the library itself. */
static void conclude(uint16_t number, CK_RV result)
{
    if (number == INITIALIZE && result == CKR_OK)
        set_started(1);
    if (number == INITIALIZE && result == CKR_GENERAL_ERROR)
        complain(carrier() == GONE ? "C_Initialize: the test run that carried the calls has ended"
                                   : "C_Initialize: no cluster is running: use the fixture hsm_pkcs11, and in other "
                                     "processes its environment (" SOCKET_VARIABLE ")");
    /* Also when nobody is there any more to hear of it; but a wrong argument changes nothing. */
    if (number == FINALIZE && result != CKR_ARGUMENTS_BAD) {
        set_started(0);
        hang_up();
    }
}

static CK_RV call(uint16_t number, const unsigned char *takes, ...)
{
    static atomic_uint calls;
    uint32_t sequence = atomic_fetch_add(&calls, 1);
    unsigned char header[HEADER] = {(unsigned char)sequence, (unsigned char)(sequence >> 8),
                                    (unsigned char)(sequence >> 16), (unsigned char)(sequence >> 24), WIRE_VERSION, 0,
                                    (unsigned char)number, (unsigned char)(number >> 8)};
    struct place places[MOST_ARGUMENTS] = {{END, NULL, NULL, 0}};
    struct writer request;
    va_list given;
    int count = 0;

    CK_RV result = alone(number);
    if (result != CKR_OK) {
        /* Whoever tidies up after the interpreter has ended has nothing left to do. */
        int tidies = number == FINALIZE || number == CLOSE_SESSION;
        conclude(number, result);
        return carrier() == GONE && tidies ? CKR_OK : result;
    }
    begin(&request, FRAME_LIMIT);
    put(&request, header, sizeof header);
    va_start(given, takes);
    for (; takes[count] != END; count++)
        put_argument(&request, takes[count], &given, &places[count]);
    va_end(given);
    result = request.failed ? CKR_DATA_LEN_RANGE : exchanged(&request, sequence, places, count);
    discard(&request);
    conclude(number, result);
    return result;
}

/* -- the list of all functions -------------------------------------------------------------------------------- */

static const CK_FUNCTION_LIST FUNCTION_LIST = {{2, 40}, ALL_FUNCTIONS};

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = (CK_FUNCTION_LIST_PTR)&FUNCTION_LIST;
    return CKR_OK;
}
