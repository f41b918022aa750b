// One end of a WebSocket by an npm package, driven by lines of JSON: commands come in, events go out.
//
//     node peer.js ws|websocket client '{"url": …, "protocols": […], "deflate": true, "takeover": false}'
//     node peer.js ws|websocket server '{"protocols": […], "deflate": true, "takeover": false}'
//
// `parameters` are those of ws's perMessageDeflate, by its names.
//
// Events: ["listening", port] ["open", protocol, extensions] ["refused", status] ["text", string] ["binary", base64]
// ["ping", string] ["pong", string] ["close", code, reason] ["error", message].
// Commands: ["text", string] ["binary", base64] ["fragments", "text" | "binary", [string, …]] ["ping", string]
// ["close", code, reason] ["terminate"]. With {"echo": true} messages are sent back instead of being told; with
// {"reject": 403} a server accepts nobody. The end of the input ends the process.
'use strict';
const http = require('node:http');
const readline = require('node:readline');

const [name, role, json] = process.argv.slice(2);
const options = JSON.parse(json);
const say = (...event) => process.stdout.write(JSON.stringify(event) + '\n');
const MEBIBYTES_64 = 64 << 20;

// --- the packages: each gives begin(connected), and an end of one face

const ws = {
    settings() {
        const noTakeover = !options.takeover;
        const agreement = {serverNoContextTakeover: noTakeover, clientNoContextTakeover: noTakeover, threshold: 0};
        const chosen = {...agreement, ...options.parameters};
        return {maxPayload: MEBIBYTES_64, perMessageDeflate: options.deflate ? chosen : false};
    },
    end(socket) {
        socket.on('message', (data, binary) => end.message(binary ? data : data.toString()));
        for (const kind of ['ping', 'pong']) socket.on(kind, data => say(kind, data.toString()));
        socket.on('error', error => say('error', error.message));
        socket.on('close', (code, reason) => say('close', code, reason.toString()));
        const end = {
            message: received,
            send: data => socket.send(data),
            fragments: parts => parts.forEach((part, i) => socket.send(part, {fin: i === parts.length - 1})),
            ping: payload => socket.ping(payload),
            close: (code, reason) => socket.close(code, reason),
            terminate: () => socket.terminate(),
        };
        say('open', socket.protocol, socket.extensions);
        return end;
    },
    client(connected) {
        const WebSocket = require('ws');
        const socket = new WebSocket(options.url, options.protocols || [], this.settings());
        socket.on('unexpected-response', (request, response) => { say('refused', response.statusCode); request.destroy(); });
        const failed = error => say('error', error.message);
        socket.on('error', failed);
        socket.on('open', () => { socket.off('error', failed); connected(this.end(socket)); });
    },
    server(server, connected) {
        const {WebSocketServer} = require('ws');
        const verifyClient = (info, answer) => answer(!options.reject, options.reject);
        new WebSocketServer({server, verifyClient, ...this.settings()}).on('connection', socket => connected(this.end(socket)));
    },
};

const websocket = {
    settings: {maxReceivedFrameSize: MEBIBYTES_64, maxReceivedMessageSize: MEBIBYTES_64, fragmentOutgoingMessages: false},
    end(connection) {
        const Frame = require('websocket').frame;
        connection.on('message', message => end.message(message.type === 'utf8' ? message.utf8Data : message.binaryData));
        connection.on('ping', (cancel, data) => say('ping', data.toString()));
        connection.on('pong', data => say('pong', data.toString()));
        connection.on('error', error => say('error', error.message));
        connection.on('close', (code, reason) => say('close', code, reason));
        const end = {
            message: received,
            send: data => connection.send(data),
            fragments: parts => parts.forEach((part, i) => {
                const frame = new Frame(connection.maskBytes, connection.frameHeader, connection.config);
                frame.opcode = i ? 0 : typeof part === 'string' ? 1 : 2;
                frame.binaryPayload = Buffer.from(part);
                frame.fin = i === parts.length - 1;
                connection.sendFrame(frame);
            }),
            ping: payload => connection.ping(payload),
            close: (code, reason) => connection.close(code, reason),
            terminate: () => connection.socket.destroy(),
        };
        say('open', connection.protocol || '', '');
        return end;
    },
    client(connected) {
        const {client: Client} = require('websocket');
        const client = new Client(this.settings);
        client.on('httpResponse', response => say('refused', response.statusCode));
        client.on('connectFailed', error => say('error', error.message));
        client.on('connect', connection => connected(this.end(connection)));
        client.connect(options.url, options.protocols || []);
    },
    server(server, connected) {
        const {server: Server} = require('websocket');
        new Server({httpServer: server, ...this.settings}).on('request', request => {
            if (options.reject) return request.reject(options.reject, 'not you');
            const protocol = (options.protocols || []).find(one => request.requestedProtocols.includes(one));
            connected(this.end(request.accept(protocol || null, request.origin)));
        });
    },
};

// --- what is the same for all

function received(data) {
    if (typeof data === 'string') say('text', data); else say('binary', data.toString('base64'));
}

const commands = {
    text: (end, data) => end.send(data),
    binary: (end, data) => end.send(Buffer.from(data, 'base64')),
    fragments: (end, kind, parts) => end.fragments(kind === 'text' ? parts : parts.map(part => Buffer.from(part))),
    ping: (end, payload) => end.ping(payload),
    close: (end, code, reason) => end.close(code, reason),
    terminate: end => end.terminate(),
};

const opened = [];  // the ends, oldest first; commands go to the last
const waiting = []; // commands that came before an end was open
const run = ([command, ...args]) => commands[command](opened[opened.length - 1], ...args);

function connected(end) {
    if (options.echo) end.message = end.send;
    opened.push(end);
    waiting.splice(0).forEach(run);
}

const input = readline.createInterface({input: process.stdin});
input.on('line', line => (opened.length ? run : command => waiting.push(command))(JSON.parse(line)));
input.on('close', () => process.exit(0));

const chosen = {ws, websocket}[name];
if (role === 'client') {
    chosen.client(connected);
} else {
    const server = http.createServer((request, response) => { response.writeHead(404); response.end(); });
    chosen.server(server, connected);
    server.listen(0, '127.0.0.1', () => say('listening', server.address().port));
}
