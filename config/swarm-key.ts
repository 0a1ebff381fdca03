/**
 * The file of a pre-shared key as kubo and libp2p write it: protocol line, encoding line, 32 bytes in hex
 * (https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md).
 */
export const swarmKeyPattern = /^\/key\/swarm\/psk\/1\.0\.0\/\r?\n\/base16\/\r?\n[0-9a-fA-F]{64}\s*$/
