# SPDX-License-Identifier: Apache-2.0
"""The C API from Python, as far as tests want it: one process runs many prompts on many devices."""
import array
import ctypes as c


class String(c.Structure):
    _fields_ = [("data", c.c_char_p), ("length", c.c_uint64)]

    @classmethod
    def of(cls, text):
        data = text.encode()
        return cls(data, len(data))


class Error(c.Structure):
    _fields_ = [("size", c.c_uint32), ("status", c.c_int32), ("native", c.c_int64),
                ("reserved", c.c_uint64 * 2), ("text", c.c_char * 480)]


class SessionOptions(c.Structure):
    _fields_ = [("size", c.c_uint32), ("strict_placement", c.c_int32), ("device", String),
                ("kv_format", String), ("context_tokens", c.c_uint64), ("batch_tokens", c.c_uint64)]


class ChatRequest(c.Structure):
    _fields_ = [("size", c.c_uint32), ("add_generation_prompt", c.c_int32), ("messages", String),
                ("tools", String), ("variables", String)]


class Failure(Exception):
    """A call that did not return BP_OK; the text is the library's."""


class Library:
    def __init__(self, path):
        self._library = c.CDLL(str(path))
        self._library.bp_session_position.restype = c.c_uint64

    def __getattr__(self, name):
        """A function of the C API that takes a bp_error last and fails loudly."""
        function = getattr(self._library, name)

        def call(*args):
            error = Error(size=c.sizeof(Error))
            if function(*args, c.byref(error)) != 0:
                raise Failure(f"{name}: {error.text.decode()}")
        return call

    def open(self, path):
        return Model(self, path)


class Model:
    def __init__(self, library, path):
        self.library = library
        self.handle = c.c_void_p()
        library.bp_model_open(str(path).encode(), None, c.byref(self.handle))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library._library.bp_model_close(self.handle)

    def _ids(self, function, *args):
        count = c.c_uint64()
        function(self.handle, *args, None, c.c_uint64(0), c.byref(count))
        ids = (c.c_int32 * count.value)()
        function(self.handle, *args, ids, count, c.byref(count))
        return list(ids)

    def tokenize(self, text):
        data = text.encode()
        return self._ids(self.library.bp_model_tokenize, data, c.c_uint64(len(data)), c.c_uint32(0))

    def tokenize_chat(self, messages_json):
        request = ChatRequest(c.sizeof(ChatRequest), 1, String.of(messages_json))
        return self._ids(self.library.bp_model_tokenize_chat, c.byref(request))

    def session(self, device, context_tokens, kv_format="f16"):
        return Session(self, device, context_tokens, kv_format)


class Session:
    """Strictly placed: every step runs on the device or the session is refused."""

    def __init__(self, model, device, context_tokens, kv_format):
        self._library = model.library
        self.handle = c.c_void_p()
        options = SessionOptions(c.sizeof(SessionOptions), 1, String.of(device),
                                 String.of(kv_format), context_tokens, 0)
        self._library.bp_session_create(model.handle, c.byref(options), c.byref(self.handle))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._library._library.bp_session_destroy(self.handle)

    def rewind(self, keep=0):
        self._library.bp_session_rewind(self.handle, c.c_uint64(keep))

    def feed(self, ids):
        """Runs the model on the ids; returns the logits for what comes next."""
        self._library.bp_session_feed_tokens(self.handle, (c.c_int32 * len(ids))(*ids),
                                             c.c_uint64(len(ids)))
        logits, count = c.POINTER(c.c_float)(), c.c_uint64()
        self._library.bp_session_logits(self.handle, c.byref(logits), c.byref(count))
        return array.array("f", c.string_at(logits, 4 * count.value))

    def explain(self):
        """One line for every step: where it runs, and why if that is a fallback."""
        lines = []
        take = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_uint64)(
            lambda _, text, length: lines.append(c.string_at(text, length).decode()))
        self._library.bp_session_explain(self.handle, take, None)
        return lines
